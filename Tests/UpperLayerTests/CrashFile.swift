import Glibc
import TestSupport

/// A file as a crash may leave it: what a read gives, what the disk has for certain, and what it may have instead.
///
/// A sector that was not synchronized is any of its versions since; so is the size. The kernel drops what it could not
/// store when a sync fails: it is read as long as the machine runs, and no later sync stores it.
struct CrashFile {
  private(set) var bytes: [UInt8] = []
  private var stored: [UInt8] = []
  private var sizes: [Int] = []
  private var versions: [Int: [[UInt8]]] = [:]
  private var lost: [Int: [[UInt8]]] = [:]

  private static let sectorBytes = 512

  init(stored: [UInt8]) {
    bytes = stored
    self.stored = stored
  }

  mutating func write(_ content: UnsafeRawBufferPointer, at offset: Int) {
    if content.isEmpty { return }
    let end = offset + content.count
    if end > bytes.count {
      bytes += [UInt8](repeating: 0, count: end - bytes.count)
      sizes.append(end)
    }
    bytes.withUnsafeMutableBytes { _ = memcpy($0.baseAddress! + offset, content.baseAddress!, content.count) }
    var sector = offset / Self.sectorBytes
    while sector * Self.sectorBytes < end {
      note(sector)
      sector += 1
    }
  }

  mutating func zero(_ range: Range<Int>) {
    let range = range.clamped(to: 0..<bytes.count)
    let zeroes = [UInt8](repeating: 0, count: range.count)
    zeroes.withUnsafeBytes { write($0, at: range.lowerBound) }
  }

  mutating func resize(to size: Int) {
    let old = bytes.count
    if size < old {
      zero(size..<old)
      bytes.removeLast(old - size)
    } else {
      bytes += [UInt8](repeating: 0, count: size - old)
    }
    sizes.append(size)
  }

  /// The sector has another version, which is that of `bytes`.
  private mutating func note(_ sector: Int) {
    if let before = lost.removeValue(forKey: sector) { versions[sector] = before }
    versions[sector, default: []].append(Self.sector(sector, of: bytes))
  }

  private static func sector(_ sector: Int, of bytes: [UInt8]) -> [UInt8] {
    let count = max(0, min(sectorBytes, bytes.count - sector * sectorBytes))
    return [UInt8](unsafeUninitializedCapacity: sectorBytes) { buffer, size in
      memset(buffer.baseAddress!, 0, sectorBytes)
      bytes.withUnsafeBytes {
        if count > 0 { memcpy(buffer.baseAddress!, $0.baseAddress! + sector * sectorBytes, count) }
      }
      size = sectorBytes
    }
  }

  private static func store(_ content: [UInt8], at sector: Int, of bytes: inout [UInt8]) {
    let start = sector * sectorBytes
    let count = min(sectorBytes, bytes.count - start)
    if count <= 0 { return }
    bytes.withUnsafeMutableBytes { bytes in
      content.withUnsafeBytes { _ = memcpy(bytes.baseAddress! + start, $0.baseAddress!, count) }
    }
  }

  mutating func synchronize() {
    var result = bytes
    for sector in lost.keys { Self.store(Self.sector(sector, of: stored), at: sector, of: &result) }
    stored = result
    versions = [:]
    sizes = []
  }

  mutating func failToSynchronize() {
    for (sector, content) in versions { lost[sector, default: []] += content }
    versions = [:]
  }

  /// The power fails, and comes back.
  mutating func cut(_ random: inout SplitMix) {
    // All old, all new and anything between, each often enough.
    let share = [0, 100, 50, 90, 10].randomElement(using: &random)!
    let size =
      Int.random(in: 0..<100, using: &random) < share
      ? sizes.last ?? stored.count
      : (sizes + [stored.count]).randomElement(using: &random)!
    var result = Array(stored.prefix(size))
    if size > result.count { result += [UInt8](repeating: 0, count: size - result.count) }
    for source in [lost, versions] {
      // In order, so that a seed gives the same run anywhere.
      for (sector, contents) in source.sorted(by: { $0.key < $1.key })
      where Int.random(in: 0..<100, using: &random) < share {
        let content = Bool.random(using: &random) ? contents.last! : contents.randomElement(using: &random)!
        Self.store(content, at: sector, of: &result)
      }
    }
    self = CrashFile(stored: result)
  }
}
