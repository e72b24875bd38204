import Device
import Glibc
import Ublk

@testable import Device

/// What a writer puts into a sector: its number and the sector's, in all words of it, so that a sector of two writers is
/// noticed.
struct SectorMark: Equatable {
  let writer: Int
  let sector: Int

  init(writer: Int, sector: Int) {
    self.writer = writer
    self.sector = sector
  }

  /// What a sector begins with; nil when that is nobody's.
  init?(_ bytes: ArraySlice<UInt8>) {
    let word = bytes.withUnsafeBytes { $0.loadUnaligned(as: UInt64.self) }
    if word >> 32 == 0 { return nil }
    self.init(writer: Int(word >> 32) - 1, sector: Int(word & 0xffff_ffff))
  }

  private var word: UInt64 { UInt64(writer + 1) << 32 | UInt64(UInt32(truncatingIfNeeded: sector)) }

  func fill(_ target: UnsafeMutableRawPointer) {
    for offset in stride(from: 0, to: 512, by: 8) { target.storeBytes(of: word, toByteOffset: offset, as: UInt64.self) }
  }

  /// Whether all of a sector is this.
  func fills(_ bytes: ArraySlice<UInt8>) -> Bool {
    bytes.withUnsafeBytes { bytes in
      stride(from: 0, to: 512, by: 8).allSatisfy { bytes.loadUnaligned(fromByteOffset: $0, as: UInt64.self) == word }
    }
  }
}

extension Request {
  /// Whether it is answered only after a flush.
  var wantsFlush: Bool {
    operationNumber == Operation.flush.rawValue
      || operationNumber == Operation.write.rawValue && flags.contains(.throughCache)
  }
}

extension UpperWork {
  var isFlush: Bool {
    if case .flush = self { true } else { false }
  }
  var isWrite: Bool {
    if case .write = self { true } else { false }
  }
}
