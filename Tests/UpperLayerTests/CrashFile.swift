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
      bytes.append(contentsOf: repeatElement(0, count: end - bytes.count))
      sizes.append(end)
    }
    bytes.withUnsafeMutableBytes { buffer in
      UnsafeMutableRawBufferPointer(rebasing: buffer[offset..<end]).copyMemory(from: content)
    }
    for sector in offset / Self.sectorBytes...(end - 1) / Self.sectorBytes { note(sector) }
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
      bytes.append(contentsOf: repeatElement(0, count: size - old))
    }
    sizes.append(size)
  }

  /// The sector has another version, which is that of `bytes`.
  private mutating func note(_ sector: Int) {
    if let before = lost.removeValue(forKey: sector) { versions[sector] = before }
    versions[sector, default: []].append(Self.sector(sector, of: bytes))
  }

  private static func sector(_ sector: Int, of bytes: [UInt8]) -> [UInt8] {
    let start = min(bytes.count, sector * sectorBytes)
    let content = bytes[start..<min(bytes.count, start + sectorBytes)]
    return Array(content) + repeatElement(0, count: sectorBytes - content.count)
  }

  private static func store(_ content: [UInt8], at sector: Int, of bytes: inout [UInt8]) {
    let start = sector * sectorBytes
    let end = min(bytes.count, start + sectorBytes)
    if start < end { bytes.replaceSubrange(start..<end, with: content[..<(end - start)]) }
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
    let size = Int.random(in: 0..<100, using: &random) < share ? sizes.last ?? stored.count
      : (sizes + [stored.count]).randomElement(using: &random)!
    var result = [UInt8](repeating: 0, count: size)
    let kept = min(size, stored.count)
    result.replaceSubrange(0..<kept, with: stored[..<kept])
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
