import Trace
import ZFile

/// The bytes of a trace file that a test spoils, or makes larger than anybody would record. Trace.docc draws them.
struct TraceBytes {
  private(set) var bytes: [UInt8]

  private enum Place {
    static let version = 8
    static let accessCount = 48
    static let bodySize = 56
    static let bodyChecksum = 64
    static let headerChecksum = 76
    static let body = 80
  }

  init(_ trace: AccessTrace) throws { bytes = try trace.encoded() }

  /// What `trace` names, `laps` times over. Each record says where it is from the one before it, so that all laps but the
  /// first have the same bytes.
  init(_ trace: AccessTrace, laps: Int) throws {
    func encoded(_ laps: Int) throws -> [UInt8] {
      var lapped = trace
      lapped.accesses = []
      for _ in 0..<laps {
        for access in trace.accesses {
          lapped.accesses.append(
            TraceAccess(microseconds: 0, device: access.device, layer: access.layer, stored: access.stored))
        }
      }
      return try lapped.encoded()
    }
    bytes = try encoded(2)
    let lap = try encoded(3)[bytes.count...]
    bytes.reserveCapacity(bytes.count + laps * lap.count)
    for _ in 2..<laps { bytes += lap }
    set(UInt64(trace.accesses.count * laps), at: Place.accessCount)
    set(UInt64(bytes.count - Place.body), at: Place.bodySize)
    set(checksum(bytes.count - Place.body, at: Place.body), at: Place.bodyChecksum)
    sealHeader()
  }

  /// Bits of one byte; the checksums stay.
  mutating func flip(at offset: Int) { bytes[offset] ^= 0x5a }

  mutating func setVersion(_ version: UInt32) {
    set(version, at: Place.version)
    sealHeader()
  }

  mutating func setAccessCount(_ count: UInt64) {
    set(count, at: Place.accessCount)
    sealHeader()
  }

  private mutating func sealHeader() { set(checksum(Place.headerChecksum, at: 0), at: Place.headerChecksum) }

  /// The ordinary CRC-32C.
  private func checksum(_ count: Int, at offset: Int) -> UInt32 {
    bytes.withUnsafeBytes { ~crc32cRaw(UnsafeRawBufferPointer(rebasing: $0[offset..<offset + count]), seed: ~0) }
  }

  private mutating func set(_ value: some FixedWidthInteger, at offset: Int) {
    bytes.withUnsafeMutableBytes { $0.storeBytes(of: value.littleEndian, toByteOffset: offset, as: type(of: value)) }
  }
}
