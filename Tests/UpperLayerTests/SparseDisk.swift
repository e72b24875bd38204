import Glibc
import Posix
import TestSupport

@testable import UpperLayer

/// The disk behind a sparse layer: a file of blocks that are allocated or holes. It can fail any operation, stop at it as a
/// killed process does, and lose its power.
///
/// A power loss leaves each block as it was at some time since the last sync: a hole, or allocated with the bytes of
/// the write that allocated it. Of one that was written in place since then, each sector is any of its versions.
final class SparseDisk: FaultyDisk, UpperDisk, @unchecked Sendable {
  /// A block from one change of its allocation to the next.
  private struct Epoch {
    var isAllocated = false
    /// By sector, oldest first.
    var versions = [[[UInt8]]](repeating: [[UInt8](repeating: 0, count: 512)], count: 8)
  }

  private static let blockBytes = 4096

  private var size: Int
  private var sizes: [Int]
  private var blocks: [[Epoch]] = []
  /// A block that a write without room has made zeroes.
  private var spoilt: Int?
  private var cutRandom: SplitMix

  /// Whether a sync failed, so that anything since the last one may be lost.
  private(set) var hasLostData = false
  /// Blocks that may be allocated.
  var capacity = Int.max

  init(_ bytes: [UInt8], size: Int, random: SplitMix, cutRandom: SplitMix) {
    self.size = size
    sizes = [size]
    self.cutRandom = cutRandom
    super.init(random: random)
    store(bytes[...], at: 0)
    settle()
  }

  private var allocated: Int { blocks.reduce(0) { $0 + ($1.last!.isAllocated ? 1 : 0) } }

  /// What a read of the file gives.
  var bytes: [UInt8] {
    var result: [UInt8] = []
    for block in blocks { for versions in block.last!.versions { result += versions.last! } }
    result += [UInt8](repeating: 0, count: max(0, size - result.count))
    return Array(result.prefix(size))
  }

  private func store(_ bytes: ArraySlice<UInt8>, at offset: Int) {
    var position = offset
    var rest = bytes
    while !rest.isEmpty {
      let number = position / Self.blockBytes
      if number == spoilt { spoilt = nil }
      let isNew = change(number, isAllocated: true)
      let end = min(position + rest.count, (number + 1) * Self.blockBytes)
      while position < end {
        let sector = position % Self.blockBytes / 512
        let count = min(end - position, 512 - position % 512)
        var content = blocks[number][blocks[number].count - 1].versions[sector].last!
        content.replaceSubrange(position % 512..<position % 512 + count, with: rest.prefix(count))
        if isNew {
          blocks[number][blocks[number].count - 1].versions[sector] = [content]
        } else {
          blocks[number][blocks[number].count - 1].versions[sector].append(content)
        }
        rest = rest.dropFirst(count)
        position += count
      }
    }
    if position > size {
      size = position
      sizes.append(size)
    }
  }

  /// Makes a block a hole or none, and says whether it was another one.
  private func change(_ number: Int, isAllocated: Bool) -> Bool {
    while blocks.count <= number { blocks.append([Epoch()]) }
    if blocks[number].last!.isAllocated == isAllocated { return false }
    blocks[number].append(Epoch(isAllocated: isAllocated))
    return true
  }

  private func empty(_ range: Range<Int>) {
    var position = range.lowerBound
    while position < min(range.upperBound, blocks.count * Self.blockBytes) {
      let number = position / Self.blockBytes
      let end = min(range.upperBound, (number + 1) * Self.blockBytes)
      if number == spoilt {
        // It never got to the disk.
        blocks[number].removeLast()
      } else if end - position == Self.blockBytes {
        _ = change(number, isAllocated: false)
      } else if blocks[number].last!.isAllocated {
        store([UInt8](repeating: 0, count: min(end, size) - position)[...], at: position)
      }
      position = end
    }
  }

  private func settle() {
    spoilt = nil
    for number in blocks.indices {
      var last = blocks[number].last!
      for sector in 0..<8 { last.versions[sector] = [last.versions[sector].last!] }
      blocks[number] = [last]
    }
    sizes = [size]
  }

  /// The power fails and comes back.
  func cut() {
    let share = [0, 100, 50, 90, 10].randomElement(using: &cutRandom)!
    for number in blocks.indices {
      let isNew = Int.random(in: 0..<100, using: &cutRandom) < share
      var epoch = isNew ? blocks[number].last! : blocks[number].randomElement(using: &cutRandom)!
      for sector in 0..<8 {
        let versions = epoch.versions[sector]
        let isLast = Int.random(in: 0..<100, using: &cutRandom) < share
        epoch.versions[sector] = [isLast ? versions.last! : versions.randomElement(using: &cutRandom)!]
      }
      blocks[number] = [epoch]
    }
    let kept = Int.random(in: 0..<100, using: &cutRandom) < share ? size : sizes.randomElement(using: &cutRandom)!
    size = kept
    empty(kept..<max(kept, (blocks.count + 1) * Self.blockBytes))
    blocks = Array(blocks.prefix((kept + Self.blockBytes - 1) / Self.blockBytes))
    settle()
    restart()
  }

  override func restart() {
    super.restart()
    spoilt = nil
    hasLostData = false
  }

  func dataSize() throws(Errno) -> UInt64 { UInt64(size) }
  func allocatedDataBytes() throws(Errno) -> UInt64 { UInt64(allocated * Self.blockBytes) }

  func readData(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(Errno) -> Int {
    if let (_, error) = step() { throw error }
    let part = bytes.dropFirst(Int(offset)).prefix(buffer.count)
    buffer.copyBytes(from: part)
    return part.count
  }

  func writeData(_ vectors: UnsafeBufferPointer<iovec>, at offset: UInt64) throws(Errno) -> Int {
    var bytes: [UInt8] = []
    for vector in vectors { bytes += UnsafeRawBufferPointer(start: vector.iov_base, count: vector.iov_len) }
    let start = Int(offset)
    /// The page cache takes its pages whole or not at all.
    func whole(_ count: Int) -> Int {
      count == bytes.count ? count : max(0, (start + count) / Self.blockBytes * Self.blockBytes - start)
    }
    if let (done, error) = step(bytes.count) {
      store(bytes.prefix(whole(done)), at: start)
      if isStopped || whole(done) == 0 { throw error }
      // What is written is said, and the error comes with the next call.
      fault?.at += 1
      return whole(done)
    }
    if Int.random(in: 0..<16, using: &random) == 0 { throw .interrupted }
    var count = bytes.count
    if Int.random(in: 0..<8, using: &random) == 0 {
      let short = whole(Int.random(in: 1...count, using: &random))
      if short > 0 { count = short }
    }
    var free = capacity - allocated
    for number in start / Self.blockBytes...(start + count - 1) / Self.blockBytes
    where number >= blocks.count || !blocks[number].last!.isAllocated {
      free -= 1
      if free < 0 {
        count = max(0, number * Self.blockBytes - start)
        break
      }
    }
    if count == 0 {
      // Of a page with several blocks some may still have found room: they become zeroes.
      if fault == nil {
        _ = change(start / Self.blockBytes, isAllocated: true)
        spoilt = start / Self.blockBytes
      }
      throw .noSpace
    }
    store(bytes.prefix(count), at: start)
    return count
  }

  func synchronizeData() throws(Errno) {
    if let (_, error) = step() {
      hasLostData = !isStopped
      throw error
    }
    if !hasLostData { settle() }
  }

  func resizeData(to size: UInt64) throws(Errno) {
    if let (_, error) = step() { throw error }
    if size < self.size {
      let end = (self.size + Self.blockBytes - 1) / Self.blockBytes * Self.blockBytes
      empty(Int(size)..<end)
    }
    self.size = Int(size)
    sizes.append(self.size)
  }

  func punchData(at offset: UInt64, count: UInt64) throws(Errno) {
    if let (_, error) = step() { throw error }
    empty(Int(offset)..<Int(offset + count))
    spoilt = nil
  }

  func nextData(from offset: UInt64) throws(Errno) -> Range<UInt64>? {
    if let (_, error) = step() { throw error }
    var first = Int(offset) / Self.blockBytes
    while first < blocks.count, !blocks[first].last!.isAllocated { first += 1 }
    let start = max(Int(offset), first * Self.blockBytes)
    if first >= blocks.count || start >= size { return nil }
    var end = first
    while end < blocks.count, blocks[end].last!.isAllocated { end += 1 }
    return UInt64(start)..<UInt64(min(size, end * Self.blockBytes))
  }

  // There is nothing in the index file of a sparse layer.
  func indexSize() throws(Errno) -> UInt64 { fatalError() }
  func indexInode() throws(Errno) -> UInt64 { fatalError() }
  func readIndex(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(Errno) -> Int { fatalError() }
  func writeIndex(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(Errno) { fatalError() }
  func synchronizeIndex() throws(Errno) { fatalError() }
  func resizeIndex(to size: UInt64) throws(Errno) { fatalError() }
  func replaceIndex(with bytes: [UInt8]) throws(Errno) { fatalError() }
  func synchronizeFolder() throws(Errno) { fatalError() }
}
