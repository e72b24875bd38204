/// The identity of a layer: 16 bytes in the order in which they are written as text.
public struct LayerUUID: Hashable, Sendable {
  private let high: UInt64
  private let low: UInt64

  /// All zero: the parent of a bottom layer, and the identity of a layer that was committed without one.
  public static let null = LayerUUID(high: 0, low: 0)

  /// Characters of the text form.
  static let textLength = 36

  private init(high: UInt64, low: UInt64) {
    self.high = high
    self.low = low
  }

  /// The UUID of 16 bytes; nil when there are more or fewer.
  public init?(bytes: [UInt8]) {
    guard bytes.count == 16 else { return nil }
    high = bytes[..<8].reduce(0) { $0 << 8 | UInt64($1) }
    low = bytes[8...].reduce(0) { $0 << 8 | UInt64($1) }
  }

  /// Parses `8-4-4-4-12` hexadecimal digits of either case; nil for anything else.
  public init?(_ text: String) { self.init(ascii: Array(text.utf8)) }

  /// Parses the 36 ASCII characters of the text form.
  init?(ascii: [UInt8]) {
    guard ascii.count == Self.textLength else { return nil }
    var digits: [UInt8] = []
    digits.reserveCapacity(32)
    for (position, character) in ascii.enumerated() {
      if [8, 13, 18, 23].contains(position) {
        guard character == UInt8(ascii: "-") else { return nil }
        continue
      }
      switch character {
      case UInt8(ascii: "0")...UInt8(ascii: "9"): digits.append(character - UInt8(ascii: "0"))
      case UInt8(ascii: "a")...UInt8(ascii: "f"): digits.append(character - UInt8(ascii: "a") + 10)
      case UInt8(ascii: "A")...UInt8(ascii: "F"): digits.append(character - UInt8(ascii: "A") + 10)
      default: return nil
      }
    }
    high = digits[..<16].reduce(0) { $0 << 4 | UInt64($1) }
    low = digits[16...].reduce(0) { $0 << 4 | UInt64($1) }
  }

  /// Whether it is ``null``.
  public var isNull: Bool { high == 0 && low == 0 }

  /// The 16 bytes, in text order.
  public var bytes: [UInt8] {
    [high, low].flatMap { word in (0..<8).map { UInt8(truncatingIfNeeded: word >> UInt64(56 - 8 * $0)) } }
  }
}

extension LayerUUID: CustomStringConvertible {
  /// Upper-case `8-4-4-4-12`, as the overlaybd LSMT format stores it.
  public var description: String {
    let alphabet = Array("0123456789ABCDEF".utf8)
    var text: [UInt8] = []
    for (position, byte) in bytes.enumerated() {
      if [4, 6, 8, 10].contains(position) { text.append(UInt8(ascii: "-")) }
      text.append(alphabet[Int(byte >> 4)])
      text.append(alphabet[Int(byte & 15)])
    }
    return String(decoding: text, as: UTF8.self)
  }
}
