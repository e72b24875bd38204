import BlobStore
import Ring
import Ublk
import UpperLayer

/// What a queue needs of the kernel: requests to serve, files to read, answers to give.
///
/// `RingTransport` is the real one. The tests have one without a kernel, which fails, cuts, delays and reorders.
/// All of it is used by one thread. Nothing happens before `submitAndWait`, but for the calls that say `now`.
protocol QueueTransport: ~Copyable {
  /// The request of a tag that has arrived.
  func request(_ tag: Int) -> Request

  /// Arms a tag for its first request.
  mutating func fetch(_ tag: Int)

  /// Answers a request and arms its tag again. `result` is the bytes served or a negative error number.
  mutating func commit(_ tag: Int, result: Int32)

  /// Starts a read of a layer's file into memory; it completes as `operation`.
  mutating func read(
    _ file: LayerFile, offset: UInt64, into memory: UnsafeMutableRawPointer, count: UInt32, operation: UInt32)

  /// Starts a read of a layer's file straight into the request's pages, from byte `position` of the request. Only
  /// in a zero-copy device.
  mutating func read(
    _ file: LayerFile, offset: UInt64, intoRequest tag: Int, position: UInt32, count: UInt32, operation: UInt32)

  /// Starts a read that is a whole request into its pages, and answers the request when it succeeded in full. If it did
  /// not, it completes as `operation` and the request is not answered. Only in a zero-copy device.
  mutating func readAndCommit(_ file: LayerFile, offset: UInt64, tag: Int, count: UInt32, operation: UInt32)

  /// Reads a layer's file now: bytes, or a negative error number.
  mutating func readNow(
    _ file: LayerFile, offset: UInt64, into memory: UnsafeMutableRawPointer, count: Int
  ) -> Int

  /// Reads what the page cache has of a layer's file now: bytes from `offset` on, 0 if a read would wait or is best
  /// left to `read`, which also says what is wrong.
  mutating func readCached(
    _ file: LayerFile, offset: UInt64, into memory: UnsafeMutableRawPointer, count: Int
  ) -> Int

  /// Copies bytes of a layer's file from the page cache into the request's pages now: how many, less than `count` if
  /// the file ends before them, or a negative error number. Nil if the cache does not have all of them, so that a
  /// read would wait. Only in a user-copy device.
  mutating func copyCached(
    _ file: LayerFile, offset: UInt64, count: Int, toRequest tag: Int, position: Int
  ) -> Int?

  /// Copies memory into the request's pages now: bytes, or a negative error number. Not in a copy device.
  mutating func copyNow(_ memory: UnsafeRawPointer, count: Int, toRequest tag: Int, position: Int) -> Int

  /// Asks for bytes of a remote layer that are not here, or that were read under the lease `damaged` and are;
  /// `operation` completes as `fetched`.
  mutating func want(layer: Int, offset: UInt64, count: UInt32, operation: UInt32, damaged: BlobView.Lease?)

  /// Writes to the upper now: 0, or a negative error number, and then nothing of it is mapped. Only in a writable device.
  mutating func writeNow(_ pieces: UnsafeBufferPointer<UpperWrite>) -> Int32

  /// Makes durable what was written, now: 0, or a negative error number. Nil when that would wait, so that it is
  /// ``UpperWork/flush`` for ``work(_:tag:)``. Only in a writable device.
  mutating func flushNow() -> Int32?

  /// Has done what may wait for a disk; completes as `worked`, with 0 or a negative error number. Only in a writable device.
  mutating func work(_ work: UpperWork, tag: Int)

  /// Puts files into their slots of the ring's table: 0, or an error number. While nothing is in flight.
  mutating func register(_ files: [LayerFile]) -> Int32

  /// Writes go to `upper` from now on. While nothing is in flight.
  mutating func use(_ upper: Upper)

  /// Makes `tick` complete once, about a second from now.
  mutating func startTimer()

  /// Lets the kernel work until something completes. False when the transport can never complete anything again.
  mutating func submitAndWait() -> Bool

  /// The next thing that completed since `submitAndWait`, or nil.
  mutating func nextEvent() -> Event?
}

/// Something that completed. The value is what an io_uring completion carries: 32 bits of kind, 32 of index.
struct Event: BitwiseCopyable {
  enum Kind: UInt32 {
    /// A tag's command ended: a request has arrived, or the tag retires. The index is the tag.
    case tag = 0
    /// A read ended. The index is the operation.
    case operation = 1
    /// The timer ran out.
    case tick = 2
    /// Bytes that were wanted are here, or will not come. The index is the operation.
    case fetched = 3
    /// What was asked of the upper's worker is done, or failed. The index is the tag.
    case worked = 5
    /// Somebody outside the ring has something to say: the transport's own business.
    case wake = 4
    /// The control thread has an order for the queue. The index means nothing.
    case order = 6
  }

  let userData: UInt64
  let result: Int32

  init(userData: UInt64, result: Int32) {
    self.userData = userData
    self.result = result
  }

  init(_ kind: Kind, _ index: UInt32, result: Int32) {
    self.init(userData: Self.userData(kind, index), result: result)
  }

  var kindNumber: UInt32 { UInt32(truncatingIfNeeded: userData >> 32) }
  var index: Int { Int(UInt32(truncatingIfNeeded: userData)) }

  static func userData(_ kind: Kind, _ index: UInt32) -> UInt64 { UInt64(kind.rawValue) << 32 | UInt64(index) }
}

/// A layer's file as a queue names it.
struct LayerFile: BitwiseCopyable {
  /// Its slot in the ring's file table.
  let slot: Int32
  /// Its descriptor, for reads that do not go through the ring.
  let descriptor: Int32
  /// Where the kernel, and only the kernel, may read the file's bytes; nil if it is not mapped.
  var mapped: UnsafeRawBufferPointer?
}
