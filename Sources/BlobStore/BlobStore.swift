import Glibc
import Posix
import Registry
import Synchronization

/// Brings bytes of remote blobs to this process: from the node's cache, or from the registry through it.
///
/// All of its work is done on one loop. What a chunk goes through, and where the code for it is:
///
///     want ─ here? checked? ─┬─▶ ends at once                              (here)
///                            ├─ on its way: join, raise its class          (BlobStore+Want)
///                            └─ launch ─ claim ─┬─ fetch ─ arrive ─▶ ends  (BlobStore+Flights, +Ends)
///                                               └─ another process has it: watch (BlobStore+Foreign)
///
/// Claims are locks of the kernel on the map's file, so that a killed process holds none; a process that is stopped is
/// given two seconds, then its chunks are fetched past the cache.
public final class BlobStore: @unchecked Sendable {
  /// Bytes that are here or not as a whole.
  public static let residencyBytes = ChunkMap.chunkBytes
  /// The node's cache; nil when everything goes through memory.
  public let cache: NodeCache?
  /// What it has done.
  public let counters = StoreCounters()
  let loop: any EventLoop
  let origin: any BlobOrigin
  /// Makes room.
  let keeper: Keeper
  /// Reads whole blobs, which may take minutes: room is made meanwhile.
  let checker: Keeper
  let listener = Mutex<(@Sendable (StoreEvent) -> Void)?>(nil)
  let clock = StoreClock()
  /// What is open, so that all devices of this process share it.
  let openBlobs = Mutex<[OpenKey: OpenBlob]>([:])
  /// Milliseconds from the opening of a blob that is all here to its check: what opens it has much to read just then.
  var checkDelay = 10_000
  /// Milliseconds for which a registry that has sent a wrong blob is not asked for it again.
  var wrongPause = 60_000

  // Of the loop only.
  /// All flights that have not ended.
  var flights: [ObjectIdentifier: Flight] = [:]
  /// Those of them that wait for their turn, by class.
  var waiting: [FetchClass: [Flight]] = [:]
  var isStarting = false
  var buffers = FlightBuffers()
  /// How many of a class are under way, and the bytes that they still have to bring.
  var flying: [FetchClass: Int] = [:]
  var flyingBytes: [FetchClass: Int] = [:]
  var pace = PrefetchPace()
  /// The registry was away: when a prefetch may try whether it still is. Nil when something has come since.
  var nextTry: Deadline?
  /// Blobs with chunks that other processes fetch.
  var watched: [ObjectIdentifier: RemoteBlob] = [:]
  var isWatching = false
  var looks = 0
  var waiters: [Waiter] = []
  var isSweeping = false
  var isStopped = false
  /// Tails of blobs that are being opened, by the number of their fetch.
  var tails: [ObjectIdentifier: Tail] = [:]
  /// What is in memory, the oldest first, and its bytes.
  var shelf: ArraySlice<Shelved> = []
  var shelvedBytes: UInt64 = 0
  /// When the next attempt to make room on a full disk may be, and the next report that it is full.
  var fullPause: Deadline?
  /// Bytes that went into the cache since its size was looked at.
  var sinceRoomWasMade: UInt64 = 0
  let checkBuffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Int(ChunkMap.spanBytes), alignment: 4096)

  /// A store that fetches from `origin` on `loop`.
  public init(cache: NodeCache?, origin: any BlobOrigin, loop: any EventLoop) throws(BlobError) {
    self.cache = cache
    self.origin = origin
    self.loop = loop
    do throws(Errno) {
      keeper = try Keeper(name: "cache-keeper")
      checker = try Keeper(name: "cache-checker")
    } catch {
      throw .cache(what: "has no thread of its own", path: cache?.path ?? "memory", error)
    }
    keepTime()
  }

  deinit { checkBuffer.deallocate() }

  /// Who is told what happens to the cache, on any of the store's threads.
  public func listen(_ listener: @escaping @Sendable (StoreEvent) -> Void) { self.listener.withLock { $0 = listener } }

  /// Ends all waits with an error, and takes no new ones. From any thread; returns before it is done.
  public func stop() {
    loop.perform { [self] in
      isStopped = true
      for flight in flights.values { end(flight, failing: .stopped) }
      for tail in tails.values { tail.stop(origin) }
      for waiter in waiters { waiter.finish(.stopped) }
      waiters = []
    }
    keeper.stop()
    checker.stop()
  }

  /// Waits until whole blobs that are here have been checked, as far as that is asked for by now.
  public func finishChecks(_ deadline: Deadline) {
    let end = OneShot<Bool>()
    checker.perform { end.set(true) }
    _ = end.wait(deadline)
  }

  /// Keeps the time that readers note, until the store is gone.
  func keepTime() {
    clock.seconds.pointee.store(UInt32(truncatingIfNeeded: time(nil)), ordering: .relaxed)
    loop.after(milliseconds: 10_000) { [weak self] in self?.keepTime() }
  }
}

/// The time that readers note, at an address: they need not ask the kernel. Blobs keep it, as they may outlive the store.
final class StoreClock: @unchecked Sendable {
  private let memory: UnsafeMutablePointer<Atomic<UInt32>>

  init() {
    memory = .allocate(capacity: 1)
    memory.initialize(to: Atomic(0))
  }

  deinit {
    memory.deinitialize(count: 1)
    memory.deallocate()
  }

  /// Seconds since 1970, up to ten of them late.
  var seconds: UnsafePointer<Atomic<UInt32>> { UnsafePointer(memory) }
}
