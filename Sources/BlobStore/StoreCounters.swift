import Synchronization

/// What a process's store has done. Counted by its threads, read by anybody.
public final class StoreCounters: Sendable {
  let fetchedBytesAtomic = Atomic<UInt64>(0)
  let fetchesAtomic = Atomic<UInt64>(0)
  let prefetchesAtomic = Atomic<UInt64>(0)
  let waitsAtomic = Atomic<UInt64>(0)
  let joinsAtomic = Atomic<UInt64>(0)
  let repairsAtomic = Atomic<UInt64>(0)
  let bypassesAtomic = Atomic<UInt64>(0)
  let failuresAtomic = Atomic<UInt64>(0)

  /// All of it now.
  public var snapshot: StoreSnapshot {
    func value(_ counter: borrowing Atomic<UInt64>) -> UInt64 { counter.load(ordering: .relaxed) }
    return StoreSnapshot(
      fetchedBytes: value(fetchedBytesAtomic), fetches: value(fetchesAtomic), prefetches: value(prefetchesAtomic),
      waits: value(waitsAtomic),
      joins: value(joinsAtomic), repairs: value(repairsAtomic), bypasses: value(bypassesAtomic),
      failures: value(failuresAtomic))
  }
}

/// Counts of a store at one moment.
public struct StoreSnapshot: Sendable, Equatable, Codable {
  /// Bytes of chunks that came from the registry.
  public var fetchedBytes: UInt64
  /// Requests to the registry, without those for tokens and redirects.
  public var fetches: UInt64
  /// Of these, requests for what nobody waited for yet.
  public var prefetches: UInt64
  /// Reads that had to wait for the network.
  public var waits: UInt64
  /// Of these, reads that found their bytes already on the way.
  public var joins: UInt64
  /// Chunks of the cache that were not what was stored, and were fetched again (`cache_repairs`).
  public var repairs: UInt64
  /// Chunks that the cache did not take, because it was full or could not be written.
  public var bypasses: UInt64
  /// Waits that ended with an error.
  public var failures: UInt64

  /// Counts by name; what is not given is 0.
  public init(
    fetchedBytes: UInt64 = 0, fetches: UInt64 = 0, prefetches: UInt64 = 0, waits: UInt64 = 0, joins: UInt64 = 0,
    repairs: UInt64 = 0,
    bypasses: UInt64 = 0, failures: UInt64 = 0
  ) {
    self.fetchedBytes = fetchedBytes
    self.fetches = fetches
    self.prefetches = prefetches
    self.waits = waits
    self.joins = joins
    self.repairs = repairs
    self.bypasses = bypasses
    self.failures = failures
  }
}
