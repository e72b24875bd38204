import Glibc
import LSMT
import Posix
import TestSupport

@testable import UpperLayer

/// The disk behind a layer: it can fail any operation, stop at it as a killed process does, and lose its power.
final class CrashDisk: FaultyDisk, UpperDisk, @unchecked Sendable {
  private(set) var data: CrashFile
  private(set) var index: CrashFile
  /// Index files whose place was taken by a name that is not durable yet.
  private var replaced: [CrashFile] = []
  private var inode: UInt64
  /// What a power loss leaves.
  private var cutRandom: SplitMix

  /// Whether a sync of the data failed, so that data is lost.
  var hasLostData = false
  /// What others do while the data is synchronized.
  var duringSync: (() -> Void)?
  /// Bytes that both files together may have.
  var capacity = Int.max

  init(data: [UInt8], index: [UInt8], inode: UInt64 = 1, random: SplitMix, cutRandom: SplitMix) {
    self.data = CrashFile(stored: data)
    self.index = CrashFile(stored: index)
    self.inode = inode
    self.cutRandom = cutRandom
    super.init(random: random)
  }

  /// Another disk that has what a read of this one gives.
  var copy: CrashDisk {
    CrashDisk(data: data.bytes, index: index.bytes, inode: inode, random: random, cutRandom: cutRandom)
  }

  /// The power fails and comes back.
  func cut() {
    for old in replaced where Bool.random(using: &cutRandom) {
      index = old
      break
    }
    replaced = []
    inode += 1
    data.cut(&cutRandom)
    index.cut(&cutRandom)
    restart()
  }

  /// Another program appends data and its entry.
  func append(_ bytes: [UInt8], entry: Segment) {
    bytes.withUnsafeBytes { data.write($0, at: data.bytes.count) }
    entry.encoded.withUnsafeBytes { index.write($0, at: index.bytes.count) }
  }

  /// How much of a write fits.
  private func room(_ file: CrashFile, _ offset: Int, _ count: Int) -> Int {
    let free = capacity - data.bytes.count - index.bytes.count
    return max(0, min(count, max(0, file.bytes.count - offset) + max(0, free)))
  }

  func dataSize() throws(Errno) -> UInt64 { UInt64(data.bytes.count) }
  func allocatedDataBytes() throws(Errno) -> UInt64 { UInt64(data.bytes.count) }

  private static func read(_ file: CrashFile, _ buffer: UnsafeMutableRawBufferPointer, _ offset: UInt64) -> Int {
    let start = min(file.bytes.count, Int(offset))
    let count = min(buffer.count, file.bytes.count - start)
    buffer.copyBytes(from: file.bytes[start..<start + count])
    return count
  }

  func readData(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(Errno) -> Int {
    if let (_, error) = step() { throw error }
    return Self.read(data, buffer, offset)
  }

  func writeData(_ vectors: UnsafeBufferPointer<iovec>, at offset: UInt64) throws(Errno) -> Int {
    var bytes: [UInt8] = []
    for vector in vectors { bytes += UnsafeRawBufferPointer(start: vector.iov_base, count: vector.iov_len) }
    func store(_ count: Int) {
      bytes.withUnsafeBytes { data.write(UnsafeRawBufferPointer(start: $0.baseAddress, count: count), at: Int(offset)) }
    }
    if let (done, error) = step(bytes.count) {
      store(done)
      throw error
    }
    if Int.random(in: 0..<16, using: &random) == 0 { throw .interrupted }
    var count = room(data, Int(offset), bytes.count)
    if count == 0 { throw .noSpace }
    if Int.random(in: 0..<8, using: &random) == 0 { count = Int.random(in: 1...count, using: &random) }
    store(count)
    return count
  }

  func synchronizeData() throws(Errno) {
    if let (_, error) = step() {
      if !isStopped {
        data.failToSynchronize()
        hasLostData = true
      }
      throw error
    }
    data.synchronize()
    duringSync?()
  }

  func resizeData(to size: UInt64) throws(Errno) {
    if let (_, error) = step() { throw error }
    data.resize(to: Int(size))
  }

  func punchData(at offset: UInt64, count: UInt64) throws(Errno) {
    if let (_, error) = step() { throw error }
    data.zero(Int(offset)..<Int(offset + count))
  }

  /// Everything is stored, holes too.
  func nextData(from offset: UInt64) throws(Errno) -> Range<UInt64>? {
    if let (_, error) = step() { throw error }
    let end = UInt64(data.bytes.count)
    return offset < end ? offset..<end : nil
  }

  func indexSize() throws(Errno) -> UInt64 { UInt64(index.bytes.count) }
  func indexInode() throws(Errno) -> UInt64 { inode }

  func readIndex(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(Errno) -> Int {
    if let (_, error) = step() { throw error }
    return Self.read(index, buffer, offset)
  }

  func writeIndex(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(Errno) {
    if let (done, error) = step(bytes.count) {
      // The page cache takes its pages whole or not at all, so an entry is never torn within a sector.
      let end = (Int(offset) + done) / 512 * 512
      let whole = done == bytes.count ? done : max(0, end - Int(offset))
      index.write(UnsafeRawBufferPointer(rebasing: bytes[..<whole]), at: Int(offset))
      throw error
    }
    let count = room(index, Int(offset), bytes.count)
    index.write(UnsafeRawBufferPointer(rebasing: bytes[..<count]), at: Int(offset))
    if count < bytes.count { throw .noSpace }
  }

  func synchronizeIndex() throws(Errno) {
    if let (_, error) = step() {
      if !isStopped { index.failToSynchronize() }
      throw error
    }
    index.synchronize()
  }

  func resizeIndex(to size: UInt64) throws(Errno) {
    if let (_, error) = step() { throw error }
    index.resize(to: Int(size))
  }

  func replaceIndex(with bytes: [UInt8]) throws(Errno) {
    if let (_, error) = step() { throw error }
    if room(data, data.bytes.count, bytes.count) < bytes.count { throw .noSpace }
    replaced.append(index)
    index = CrashFile(stored: bytes)
    inode += 1
  }

  func synchronizeFolder() throws(Errno) {
    if let (_, error) = step() { throw error }
    replaced = []
  }
}
