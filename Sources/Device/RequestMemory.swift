import Posix

/// Addresses of a queue's buffers. Each tag has one of the largest request's size, where data is put together, and
/// one where compressed blocks arrive. Both cost memory only once they are used.
struct RequestMemory: BitwiseCopyable, @unchecked Sendable {
  /// Bytes of a tag's buffer for compressed data: a large request is decoded in several steps.
  static let scratchBytes = 256 << 10

  let buffers: UnsafeMutableRawPointer
  let scratches: UnsafeMutableRawPointer
  /// Zeroes as many as a request may want. Never written, so all of it is the kernel's one page of zeroes.
  let zeroes: UnsafeRawPointer
  let requestBytesMax: Int

  @inline(__always)
  func buffer(_ tag: Int) -> UnsafeMutableRawPointer { buffers + tag &* requestBytesMax }

  @inline(__always)
  func scratch(_ tag: Int) -> UnsafeMutableRawPointer { scratches + tag &* Self.scratchBytes }
}

/// The pages behind a queue's `RequestMemory`.
struct RequestPages: ~Copyable, Sendable {
  private let buffers: MemoryMapping
  private let scratches: MemoryMapping
  private let zeroes: MemoryMapping
  let view: RequestMemory

  init(depth: Int, requestBytesMax: Int) throws(Errno) {
    let buffers = try MemoryMapping(anonymous: depth * requestBytesMax)
    let scratches = try MemoryMapping(anonymous: depth * RequestMemory.scratchBytes)
    let zeroes = try MemoryMapping(anonymous: requestBytesMax, writable: false)
    view = RequestMemory(
      buffers: buffers.base, scratches: scratches.base, zeroes: UnsafeRawPointer(zeroes.base),
      requestBytesMax: requestBytesMax)
    self.buffers = buffers
    self.scratches = scratches
    self.zeroes = zeroes
  }

  /// Gives all of it back to the kernel. Only while no request is in flight.
  func release() {
    buffers.discard(offset: 0, length: buffers.count)
    scratches.discard(offset: 0, length: scratches.count)
    zeroes.discard(offset: 0, length: zeroes.count)
  }
}
