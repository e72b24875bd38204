/// Decompresses deflate (RFC 1951). Everything is checked: bytes that are no deflate, or too much of it, throw.
struct Inflate {
  private let input: [UInt8]
  private let limit: Int
  private(set) var output: [UInt8] = []
  /// The next byte of the input that is not in `word`.
  private var next: Int
  /// Bits that were taken from the input, the next one lowest.
  private var word: UInt64 = 0
  private var bits = 0

  /// - Parameters:
  ///   - start: where in `input` the first block begins.
  ///   - limit: bytes that may come out.
  init(_ input: [UInt8], from start: Int, limit: Int) {
    self.input = input
    self.limit = limit
    next = start
  }

  /// Where the first byte behind the last block is; to be asked after ``run()``.
  var end: Int { next - bits / 8 }

  /// Decompresses all blocks into ``output``.
  mutating func run() throws(FileSystemError) {
    var isLast = false
    while !isLast {
      isLast = try take(1) == 1
      switch try take(2) {
      case 0: try copyStored()
      case 1: try expand(Self.fixedLiterals, Self.fixedDistances)
      case 2:
        let (literals, distances) = try readTables()
        try expand(literals, distances)
      default: throw damaged("has a block of no known kind")
      }
    }
  }

  private func damaged(_ problem: String) -> FileSystemError { .damagedContents("is compressed, and \(problem)") }

  // MARK: Bits

  private mutating func fill() {
    while bits <= 56, next < input.count {
      word |= UInt64(input[next]) << UInt64(bits)
      bits += 8
      next += 1
    }
  }

  private mutating func take(_ count: Int) throws(FileSystemError) -> Int {
    fill()
    guard count <= bits else { throw damaged("ends too early") }
    let value = word & (1 << UInt64(count) - 1)
    word >>= UInt64(count)
    bits -= count
    return Int(value)
  }

  private mutating func symbol(_ table: InflateTable) throws(FileSystemError) -> Int {
    fill()
    let entry = table.entries[Int(word & (1 << UInt64(table.bits) - 1))]
    let length = Int(entry & 15)
    guard length > 0 else { throw damaged("has a code that means nothing") }
    guard length <= bits else { throw damaged("ends too early") }
    word >>= UInt64(length)
    bits -= length
    return Int(entry >> 4)
  }

  // MARK: Blocks

  private func checkRoom(_ count: Int) throws(FileSystemError) {
    guard count <= limit - output.count else { throw damaged("has more than \(limit) bytes of content") }
  }

  private mutating func copyStored() throws(FileSystemError) {
    _ = try take(bits % 8)
    let count = try take(16)
    guard try take(16) == ~count & 0xFFFF else { throw damaged("has a stored block of two lengths") }
    try checkRoom(count)
    // Whole bytes that were taken already are given back.
    next -= bits / 8
    (word, bits) = (0, 0)
    guard count <= input.count - next else { throw damaged("ends too early") }
    output += input[next..<next + count]
    next += count
  }

  private mutating func expand(_ literals: InflateTable, _ distances: InflateTable) throws(FileSystemError) {
    while true {
      let code = try symbol(literals)
      if code < 256 {
        try checkRoom(1)
        output.append(UInt8(code))
        continue
      }
      if code == 256 { return }
      guard code < 286 else { throw damaged("has a length that means nothing") }
      let (length, lengthBits) = Self.lengths[code - 257]
      let count = length + (try take(lengthBits))
      let far = try symbol(distances)
      guard far < 30 else { throw damaged("has a distance that means nothing") }
      let (base, distanceBits) = Self.distances[far]
      let distance = base + (try take(distanceBits))
      guard distance <= output.count else { throw damaged("refers to bytes before its beginning") }
      try checkRoom(count)
      // What is copied may be what was just written.
      for _ in 0..<count { output.append(output[output.count - distance]) }
    }
  }

  /// The tables of a dynamic block: lengths of codes, which are themselves compressed.
  private mutating func readTables() throws(FileSystemError) -> (InflateTable, InflateTable) {
    let literalCount = try take(5) + 257
    let distanceCount = try take(5) + 1
    let count = try take(4) + 4
    var lengths = [UInt8](repeating: 0, count: 19)
    for place in Self.order.prefix(count) { lengths[place] = UInt8(try take(3)) }
    let table = try self.table(lengths)
    lengths = []
    while lengths.count < literalCount + distanceCount {
      let code = try symbol(table)
      switch code {
      case 16:
        guard let last = lengths.last else { throw damaged("repeats a length before the first") }
        lengths += repeatElement(last, count: 3 + (try take(2)))
      case 17: lengths += repeatElement(0, count: 3 + (try take(3)))
      case 18: lengths += repeatElement(0, count: 11 + (try take(7)))
      default: lengths.append(UInt8(code))
      }
    }
    guard lengths.count == literalCount + distanceCount else { throw damaged("has more lengths of codes than codes") }
    return (try self.table(Array(lengths[..<literalCount])), try self.table(Array(lengths[literalCount...])))
  }

  private func table(_ lengths: [UInt8]) throws(FileSystemError) -> InflateTable {
    guard let table = InflateTable(lengths) else { throw damaged("has more codes than their lengths allow") }
    return table
  }

  // MARK: Constants (RFC 1951, section 3.2)

  private static let order = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15]

  /// Least length, and bits that follow, of codes 257 to 285.
  private static let lengths: [(Int, Int)] = steps(28, perBit: 4, from: 3) + [(258, 0)]

  /// Least distance, and bits that follow, of codes 0 to 29.
  private static let distances = steps(30, perBit: 2, from: 1)

  /// Values that begin where the last one's range ends; the number of bits grows by one after every `perBit` of them, from
  /// the third such group on.
  private static func steps(_ count: Int, perBit: Int, from first: Int) -> [(Int, Int)] {
    var value = first
    return (0..<count).map { index in
      let bits = max(0, index / perBit - 1)
      defer { value += 1 << bits }
      return (value, bits)
    }
  }

  private static let fixedLiterals = InflateTable(
    [(144, 8), (112, 9), (24, 7), (8, 8)].flatMap { count, bits in [UInt8](repeating: bits, count: count) })!
  private static let fixedDistances = InflateTable([UInt8](repeating: 5, count: 30))!
}

/// Codes of up to 15 bits: for each value of the next ``bits`` bits, the symbol and the length of its code.
struct InflateTable {
  /// Symbol shifted left by four, and length; 0 where no code begins so.
  private(set) var entries: [UInt16]
  let bits: Int

  /// - Parameter lengths: bits of each symbol's code, at most 15; 0 for one that has none. nil if there are more codes than
  ///   that leaves room for. Fewer are allowed.
  init?(_ lengths: [UInt8]) {
    bits = max(1, Int(lengths.max() ?? 0))
    entries = [UInt16](repeating: 0, count: 1 << bits)
    var code = 0
    for length in 1...bits {
      for (symbol, _) in lengths.enumerated().filter({ $0.element == length }) {
        guard code < 1 << length else { return nil }
        // Codes are written with their first bit lowest.
        let first = Int(UInt16(code).reversedBits >> UInt16(16 - length))
        for place in stride(from: first, to: entries.count, by: 1 << length) {
          entries[place] = UInt16(symbol << 4 | length)
        }
        code += 1
      }
      code <<= 1
    }
  }
}

extension UInt16 {
  fileprivate var reversedBits: UInt16 {
    var value = self
    var result: UInt16 = 0
    for _ in 0..<16 {
      result = result << 1 | value & 1
      value >>= 1
    }
    return result
  }
}
