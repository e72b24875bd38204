import Glibc
import Posix
import TestSupport
import Testing

/// What was written to a disk, and what of it the disk has said to be safe: a file that outlives the machine.
///
/// Every sector that is written says where it belongs and which write it is of. Before a write its line goes to the file,
/// and after a flush another: what had been written before it is safe.
final class SectorLog {
  /// Numbers of sectors and of writes; write 0 is the blank disk.
  struct Write {
    let sectors: Range<Int>
    let number: Int
    /// Zeroes, not the sectors' own words.
    let isZeroes: Bool
  }

  private let file: Descriptor
  private var count = 0

  init(_ path: String) throws {
    file = try Descriptor.open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND)
  }

  /// Says that sectors are about to be written; the write's number.
  func begin(_ sectors: Range<Int>, isZeroes: Bool) throws -> Write {
    count += 1
    try say("\(isZeroes ? "zero" : "write") \(sectors.lowerBound) \(sectors.count) \(count)")
    return Write(sectors: sectors, number: count, isZeroes: isZeroes)
  }

  /// Says that a flush has ended: all that was written before it is safe.
  func flushed() throws { try say("flush \(count)") }

  /// Says that one write is safe.
  func synced(_ write: Write) throws { try say("synced \(write.number)") }

  private func say(_ line: String) throws {
    try Array("\(line)\n".utf8).withUnsafeBytes { try file.writeFully($0) }
  }

  /// The bytes of a sector of a write.
  static func content(_ sector: Int, _ number: Int) -> [UInt8] {
    var random = SplitMix(state: UInt64(sector) << 32 ^ UInt64(number))
    return withUnsafeBytes(of: (UInt64(sector), UInt64(number))) { Array($0) } + random.bytes(496)
  }

  /// For each of `sectors` sectors the writes that it may be of, 0 for zeroes. A line that the cut has torn is none.
  static func allowed(_ path: String, sectors: Int) throws -> [[Write?]] {
    var writes: [Write] = []
    var safe: Set<Int> = []
    // What follows the last newline is nothing, or half a line.
    let text = String(decoding: try readFile(path), as: UTF8.self)
    for line in text.split(separator: "\n", omittingEmptySubsequences: false).dropLast() {
      let words = line.split(separator: " ")
      let numbers = words.dropFirst().compactMap { Int($0) }
      switch words.first {
      case "write", "zero":
        writes.append(
          Write(sectors: numbers[0]..<numbers[0] + numbers[1], number: numbers[2], isZeroes: words[0] == "zero"))
      case "flush": safe.formUnion(writes.lazy.map(\.number).filter { $0 <= numbers[0] })
      case "synced": safe.insert(numbers[0])
      default: Issue.record("a line of the log: \(line)")
      }
    }
    try #require(safe.count > 10, "\(safe.count) writes were safe before the cut: too few to show anything")
    print("\(writes.count) writes, \(safe.count) of them safe")
    // One writer, one write at a time: a safe write hides what came before it, and what comes after may have come or not.
    var allowed = [[Write?]](repeating: [nil], count: sectors)
    for write in writes {
      for sector in write.sectors { allowed[sector] = (safe.contains(write.number) ? [] : allowed[sector]) + [write] }
    }
    return allowed
  }
}
