import CLinux
import Glibc

/// An open file descriptor that closes itself. Always opened with `O_CLOEXEC`: an inherited
/// `/dev/ublkcN` would keep its device alive for ever.
public struct Descriptor: ~Copyable, Sendable {
  /// The number that the kernel knows.
  public let rawValue: Int32

  /// Takes over an open descriptor.
  public init(owning rawValue: Int32) { self.rawValue = rawValue }

  deinit { _ = close(rawValue) }

  /// Gives the number up without closing it.
  public consuming func release() -> Int32 {
    let raw = rawValue
    discard self
    return raw
  }

  /// Opens `path`. `flags` are `open(2)` flags; `O_CLOEXEC` is added.
  public static func open(
    _ path: String, _ flags: Int32 = O_RDONLY, mode: UInt32 = 0o644
  ) throws(Errno) -> Descriptor {
    Descriptor(owning: try retryingInterrupts { clinux_open(path, flags | O_CLOEXEC, mode) })
  }

  /// One `pread(2)`: how many bytes were read, 0 at the end of the file.
  public func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(Errno) -> Int {
    guard let position = Int(exactly: offset) else { throw .invalidArgument }
    return try retryingInterrupts { pread(rawValue, buffer.baseAddress, buffer.count, position) }
  }

  /// Reads until `buffer` is full or the file ends; returns the bytes read.
  public func readFully(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(Errno) -> Int {
    var done = 0
    while done < buffer.count {
      let rest = UnsafeMutableRawBufferPointer(rebasing: buffer[done...])
      let count = try read(into: rest, at: offset + UInt64(done))
      if count == 0 { break }
      done += count
    }
    return done
  }

  /// Reads from the current position, for pipes and standard input; 0 at the end.
  public func read(into buffer: UnsafeMutableRawBufferPointer) throws(Errno) -> Int {
    try retryingInterrupts { Glibc.read(rawValue, buffer.baseAddress, buffer.count) }
  }

  /// Writes all of `buffer` at `offset`.
  public func writeFully(_ buffer: UnsafeRawBufferPointer, at offset: UInt64) throws(Errno) {
    guard let position = Int(exactly: offset) else { throw .invalidArgument }
    var done = 0
    while done < buffer.count {
      done += try retryingInterrupts {
        pwrite(rawValue, buffer.baseAddress! + done, buffer.count - done, position + done)
      }
    }
  }

  /// Writes all of `buffer` at the current position.
  public func writeFully(_ buffer: UnsafeRawBufferPointer) throws(Errno) {
    var done = 0
    while done < buffer.count {
      done += try retryingInterrupts {
        Glibc.write(rawValue, buffer.baseAddress! + done, buffer.count - done)
      }
    }
  }

  /// `fstat(2)`.
  public func status() throws(Errno) -> stat {
    var value = stat()
    _ = try retryingInterrupts { fstat(rawValue, &value) }
    return value
  }

  /// `fsync(2)`.
  public func synchronize() throws(Errno) { _ = try retryingInterrupts { fsync(rawValue) } }

  /// `ftruncate(2)` to `size` bytes.
  public func truncate(to size: UInt64) throws(Errno) {
    guard let length = Int(exactly: size) else { throw .invalidArgument }
    _ = try retryingInterrupts { ftruncate(rawValue, length) }
  }
}

/// A pipe, both ends closed on exec.
public struct Pipe: ~Copyable, Sendable {
  /// The end to read from.
  public var reading: Descriptor?
  /// The end to write to.
  public var writing: Descriptor?

  /// `pipe2(2)`.
  public init() throws(Errno) {
    var ends: (Int32, Int32) = (-1, -1)
    let result = withUnsafeMutableBytes(of: &ends) {
      clinux_pipe_cloexec($0.assumingMemoryBound(to: Int32.self).baseAddress!)
    }
    if result != 0 { throw .last }
    reading = Descriptor(owning: ends.0)
    writing = Descriptor(owning: ends.1)
  }
}

/// Two sockets that are connected with each other, both closed on exec.
public struct SocketPair: ~Copyable, Sendable {
  /// One end.
  public var first: Descriptor?
  /// The other one.
  public var second: Descriptor?

  /// `socketpair(2)`, for streams of bytes.
  public init() throws(Errno) {
    var ends: (Int32, Int32) = (-1, -1)
    let result = withUnsafeMutableBytes(of: &ends) {
      socketpair(
        AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0,
        $0.assumingMemoryBound(to: Int32.self).baseAddress!)
    }
    if result != 0 { throw .last }
    first = Descriptor(owning: ends.0)
    second = Descriptor(owning: ends.1)
  }
}
