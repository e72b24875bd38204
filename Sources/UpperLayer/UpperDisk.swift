import Glibc
import Posix

/// The files of one writable layer, as far as its upkeep needs them. What is generic over it is specialized for
/// ``FileDisk``; tests have one that keeps what a crash would leave.
///
/// The data file may be written by any thread at any time. Everything about the index file is done by one at a time.
protocol UpperDisk: AnyObject, Sendable {
  /// Bytes of the data file.
  func dataSize() throws(Errno) -> UInt64
  /// Bytes that the data file occupies on its disk.
  func allocatedDataBytes() throws(Errno) -> UInt64
  /// Reads until `buffer` is full or the file ends; the bytes read.
  func readData(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(Errno) -> Int
  /// One `pwritev(2)`: the bytes written, which may be fewer than asked for; `EINTR` when none were.
  func writeData(_ vectors: UnsafeBufferPointer<iovec>, at offset: UInt64) throws(Errno) -> Int
  /// `fdatasync(2)`.
  func synchronizeData() throws(Errno)
  func resizeData(to size: UInt64) throws(Errno)
  /// Gives the space of a range back; it reads as zeroes then.
  func punchData(at offset: UInt64, count: UInt64) throws(Errno)

  /// Bytes of the index file.
  func indexSize() throws(Errno) -> UInt64
  /// What tells this index file from one that replaces it.
  func indexInode() throws(Errno) -> UInt64
  /// Reads until `buffer` is full or the file ends; the bytes read.
  func readIndex(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(Errno) -> Int
  /// Writes all of `bytes`.
  func writeIndex(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(Errno)
  /// `fdatasync(2)`.
  func synchronizeIndex() throws(Errno)
  func resizeIndex(to size: UInt64) throws(Errno)
  /// Puts a new, synchronized index file in the place of the old one. After a power loss one or the other is there,
  /// the new one for certain only after ``synchronizeFolder()``. An error means that the old one is still in place.
  func replaceIndex(with bytes: [UInt8]) throws(Errno)
  func synchronizeFolder() throws(Errno)
}

extension UpperDisk {
  /// Writes all that `vectors` name, which are used up meanwhile: short writes go on, interrupted ones start again.
  @inline(__always)
  func writeDataFully(_ vectors: UnsafeMutableBufferPointer<iovec>, at offset: UInt64) throws(Errno) {
    var position = offset
    var first = 0
    while first < vectors.count {
      var written: Int
      do throws(Errno) {
        written = try writeData(UnsafeBufferPointer(rebasing: vectors[first...]), at: position)
      } catch {
        if error == .interrupted { continue }
        throw error
      }
      // Nothing written and no error: it would be tried for ever.
      if written <= 0 { throw .ioError }
      position &+= UInt64(UInt(bitPattern: written))
      while first < vectors.count, written >= vectors[first].iov_len {
        written &-= vectors[first].iov_len
        first &+= 1
      }
      if written > 0 {
        vectors[first].iov_base += written
        vectors[first].iov_len &-= written
      }
    }
  }

  /// Writes a few bytes of the data file, such as a header.
  func writeData(_ bytes: [UInt8], at offset: UInt64) throws(Errno) {
    let result: Result<Void, Errno> = bytes.withUnsafeBytes { buffer in
      var vector = iovec(
        iov_base: UnsafeMutableRawPointer(mutating: buffer.baseAddress), iov_len: buffer.count)
      return withUnsafeMutablePointer(to: &vector) { pointer in
        do throws(Errno) {
          return .success(try writeDataFully(UnsafeMutableBufferPointer(start: pointer, count: 1), at: offset))
        } catch { return .failure(error) }
      }
    }
    try result.get()
  }

  /// Writes a few bytes of the index file.
  func writeIndex(_ bytes: [UInt8], at offset: UInt64) throws(Errno) {
    let result: Result<Void, Errno> = bytes.withUnsafeBytes { buffer in
      do throws(Errno) { return .success(try writeIndex(buffer, at: offset)) } catch { return .failure(error) }
    }
    try result.get()
  }

  /// `count` bytes of the data file from `offset`, fewer where it ends.
  func readData(_ count: Int, at offset: UInt64) throws(Errno) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    let result: Result<Int, Errno> = bytes.withUnsafeMutableBytes { buffer in
      do throws(Errno) { return .success(try readData(into: buffer, at: offset)) } catch { return .failure(error) }
    }
    bytes.removeLast(count - (try result.get()))
    return bytes
  }

  /// `count` bytes of the index file from `offset`, fewer where it ends.
  func readIndex(_ count: Int, at offset: UInt64) throws(Errno) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    let result: Result<Int, Errno> = bytes.withUnsafeMutableBytes { buffer in
      do throws(Errno) { return .success(try readIndex(into: buffer, at: offset)) } catch { return .failure(error) }
    }
    bytes.removeLast(count - (try result.get()))
    return bytes
  }
}
