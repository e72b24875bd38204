import Glibc
import Posix
import TestSupport

@testable import UpperLayer

/// The files of a writable layer whose server can be killed before, in, or after any operation of them, or be told of an
/// error. What it did until then stays, in the page cache.
final class MortalDisk: FaultyDisk, UpperDisk, @unchecked Sendable {
  let file: FileDisk
  private let life: ServerLife
  /// Whether other threads of the server may go on in the middle of a write: not where it holds a lock.
  var letsOthersWrite = false

  init(_ file: FileDisk, _ life: ServerLife, random: SplitMix) {
    self.file = file
    self.life = life
    super.init(random: random)
  }

  private func doing<T>(_ name: StaticString = #function, _ body: () throws(Errno) -> T) throws(Errno) -> T {
    if life.isDead { throw .ioError }
    guard let (done, error) = step(1, name) else { return try body() }
    if isStopped {
      // It is the last thing that was done, or the first that was not.
      if done == 1 { _ = try? body() }
      life.die()
    }
    throw error
  }

  func writeData(_ vectors: UnsafeBufferPointer<iovec>, at offset: UInt64) throws(Errno) -> Int {
    if letsOthersWrite { life.passTurn() }
    if life.isDead { throw .ioError }
    let total = vectors.reduce(0) { $0 + $1.iov_len }
    if let (done, error) = step(total) {
      if isStopped {
        _ = try? write(vectors, done, offset)
        life.die()
      }
      throw error
    }
    let isShort = Int.random(in: 0..<8, using: &random) == 0
    return try write(vectors, isShort ? Int.random(in: 1...total, using: &random) : total, offset)
  }

  /// Writes about `count` bytes. The page cache takes a page whole or not at all; `count` is all, or ends with a page.
  private func write(_ vectors: UnsafeBufferPointer<iovec>, _ count: Int, _ offset: UInt64) throws(Errno) -> Int {
    let whole = (Int(offset) + count) / 4096 * 4096 - Int(offset)
    var rest = whole <= 0 || count == vectors.reduce(0) { $0 + $1.iov_len } ? Int.max : whole
    // A process that is killed in its first page has written nothing.
    if isStopped, whole <= 0 { return 0 }
    var cut: [iovec] = []
    for vector in vectors where rest > 0 {
      cut.append(iovec(iov_base: vector.iov_base, iov_len: min(rest, vector.iov_len)))
      rest -= vector.iov_len
    }
    let result: Result<Int, Errno> = cut.withUnsafeBufferPointer { cut in
      do throws(Errno) { return .success(try file.writeData(cut, at: offset)) } catch { return .failure(error) }
    }
    return try result.get()
  }

  func dataSize() throws(Errno) -> UInt64 { try file.dataSize() }
  func allocatedDataBytes() throws(Errno) -> UInt64 { try file.allocatedDataBytes() }

  func readData(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(Errno) -> Int {
    try doing { () throws(Errno) in try file.readData(into: buffer, at: offset) }
  }

  func synchronizeData() throws(Errno) { try doing { () throws(Errno) in try file.synchronizeData() } }

  func resizeData(to size: UInt64) throws(Errno) { try doing { () throws(Errno) in try file.resizeData(to: size) } }

  func punchData(at offset: UInt64, count: UInt64) throws(Errno) {
    try doing { () throws(Errno) in try file.punchData(at: offset, count: count) }
  }

  func nextData(from offset: UInt64) throws(Errno) -> Range<UInt64>? {
    try doing { () throws(Errno) in try file.nextData(from: offset) }
  }

  func indexSize() throws(Errno) -> UInt64 { try file.indexSize() }
  func indexInode() throws(Errno) -> UInt64 { try file.indexInode() }

  func readIndex(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(Errno) -> Int {
    try doing { () throws(Errno) in try file.readIndex(into: buffer, at: offset) }
  }

  func writeIndex(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(Errno) {
    if life.isDead { throw .ioError }
    guard let (done, error) = step(bytes.count) else { return try file.writeIndex(bytes, at: offset) }
    if isStopped {
      let whole = max(0, (Int(offset) + done) / 4096 * 4096 - Int(offset))
      let part = UnsafeRawBufferPointer(rebasing: bytes[..<(done == bytes.count ? done : whole)])
      if !part.isEmpty { try? file.writeIndex(part, at: offset) }
      life.die()
    }
    throw error
  }

  func synchronizeIndex() throws(Errno) { try doing { () throws(Errno) in try file.synchronizeIndex() } }

  func resizeIndex(to size: UInt64) throws(Errno) { try doing { () throws(Errno) in try file.resizeIndex(to: size) } }

  func replaceIndex(with bytes: [UInt8]) throws(Errno) {
    try doing { () throws(Errno) in try file.replaceIndex(with: bytes) }
  }

  func synchronizeFolder() throws(Errno) { try doing { () throws(Errno) in try file.synchronizeFolder() } }
}
