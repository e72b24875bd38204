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
///                            └─ launch ─ claim ─┬─ fetch ─ arrive ─▶ ends  (BlobStore+Flights)
///                                               └─ another process has it: watch (BlobStore+Foreign)
///
/// Claims are locks of the kernel on the map's file, so that a killed process holds none; a process that is stopped is
/// given two seconds, then its chunks are fetched past the cache.
public final class BlobStore: @unchecked Sendable {
  /// The node's cache; nil when everything goes through memory.
  public let cache: NodeCache?
  /// What it has done.
  public let counters = StoreCounters()
  let loop: any EventLoop
  let origin: any BlobOrigin
  let keeper: Keeper
  let listener = Mutex<(@Sendable (StoreEvent) -> Void)?>(nil)
  let clock: UnsafeMutablePointer<Atomic<UInt32>>

  // Of the loop only.
  /// All flights that have not ended.
  var flights: [ObjectIdentifier: Flight] = [:]
  /// Those of them that wait for their turn, by class.
  var waiting: [FetchClass: [Flight]] = [:]
  /// How many of a class are under way.
  var flying: [FetchClass: Int] = [:]
  /// Blobs with chunks that other processes fetch.
  var watched: [ObjectIdentifier: RemoteBlob] = [:]
  var isWatching = false
  var waiters: [Waiter] = []
  var isSweeping = false
  var isStopped = false
  /// Chunks in memory, oldest first.
  var inMemory: [(blob: RemoteBlob, chunk: Int)] = []
  /// When the next attempt to make room on a full disk may be.
  var fullPause: Deadline?
  /// Bytes that went into the cache since its size was looked at.
  var sinceRoomWasMade: UInt64 = 0
  let checkBuffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Int(ChunkMap.chunkBytes), alignment: 4096)

  /// Memory that chunks without a place in the cache may take: 64 MiB.
  static let memoryChunksMax = 1024

  /// A store that fetches from `origin` on `loop`.
  public init(cache: NodeCache?, origin: any BlobOrigin, loop: any EventLoop) throws(BlobError) {
    self.cache = cache
    self.origin = origin
    self.loop = loop
    do throws(Errno) { keeper = try Keeper() } catch {
      throw .cache(what: "its keeper's thread cannot be started", path: cache?.path ?? "memory", error)
    }
    clock = .allocate(capacity: 1)
    clock.initialize(to: Atomic(0))
    keepTime()
  }

  deinit {
    clock.deinitialize(count: 1)
    clock.deallocate()
    checkBuffer.deallocate()
  }

  /// Who is told what happens to the cache, on any of the store's threads.
  public func listen(_ listener: @escaping @Sendable (StoreEvent) -> Void) { self.listener.withLock { $0 = listener } }

  /// Ends all waits with an error, and takes no new ones. From any thread; returns before it is done.
  public func stop() {
    loop.perform { [self] in
      isStopped = true
      for flight in flights.values { end(flight, failing: .stopped) }
      for waiter in waiters { waiter.finish(.stopped) }
      waiters = []
    }
    keeper.stop()
  }

  /// Keeps the time that readers note, until the store is gone.
  func keepTime() {
    clock.pointee.store(UInt32(truncatingIfNeeded: time(nil)), ordering: .relaxed)
    loop.after(milliseconds: 10_000) { [weak self] in self?.keepTime() }
  }
}
