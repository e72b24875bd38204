import CLinux
import Glibc
import Posix
import Synchronization

/// Bytes a second, for several threads: each waits until what was allowed before it has had its time.
final class RateLimit: Sendable {
  private let bytesPerSecond: UInt64
  /// When the next may begin, `CLOCK_MONOTONIC`, nanoseconds.
  private let next = Atomic<UInt64>(0)

  init(bytesPerSecond: UInt64) { self.bytesPerSecond = max(1, bytesPerSecond) }

  /// Waits until `count` bytes may be asked for.
  func wait(for count: UInt64) {
    inSteps(count, bytesPerSecond) { sleep(until: reserve(next, $0, bytesPerSecond)) }
  }
}

/// What all processes of the node may fetch together: a number in a file that they share.
public final class NodeRate: @unchecked Sendable {
  private let bytesPerSecond: UInt64
  private let memory: MemoryMapping

  /// The file at `path` is made where it is missing. All who use it should say the same rate.
  public init(path: String, bytesPerSecond: UInt64) throws(Errno) {
    self.bytesPerSecond = max(1, bytesPerSecond)
    let file = try Descriptor.open(path, O_RDWR | O_CREAT, mode: 0o600)
    if UInt64(try file.status().st_size) < 8 { try file.truncate(to: 8) }
    memory = try MemoryMapping(
      count: 8, protection: PROT_READ | PROT_WRITE, flags: MAP_SHARED, file: file.rawValue, offset: 0)
  }

  /// Waits until `count` bytes may be asked for.
  public func wait(for count: UInt64) {
    let next = memory.base.assumingMemoryBound(to: Atomic<UInt64>.self)
    inSteps(count, bytesPerSecond) { sleep(until: reserve(next.pointee, $0, bytesPerSecond)) }
  }
}

/// Bytes a second may be exceeded for so long, so that small requests do not wait one by one.
private let burst: UInt64 = 50_000_000
/// Nobody is ever kept longer: the number may be of another boot, or damaged.
private let longest: UInt64 = 60_000_000_000

/// Gives `body` as many bytes at a time as a quarter of a second has. So what is reserved is never far ahead, however
/// slow the rate and however many wait, and a number that is far ahead is damaged.
private func inSteps(_ count: UInt64, _ bytesPerSecond: UInt64, _ body: (UInt64) -> Void) {
  let step = max(1, bytesPerSecond / 4)
  var rest = count
  while rest > 0 {
    let part = min(rest, step)
    body(part)
    rest -= part
  }
}

/// Takes the time of `count` bytes; when it begins.
private func reserve(_ next: borrowing Atomic<UInt64>, _ count: UInt64, _ bytesPerSecond: UInt64) -> UInt64 {
  let cost = UInt64(Double(count) / Double(bytesPerSecond) * 1e9)
  var old = next.load(ordering: .relaxed)
  while true {
    let now = monotonicNanoseconds()
    let start = old > now + longest ? now : max(old, now - min(now, burst))
    let change = next.weakCompareExchange(expected: old, desired: start + cost, ordering: .relaxed)
    if change.exchanged { return start }
    old = change.original
  }
}

private func sleep(until time: UInt64) {
  while true {
    let now = monotonicNanoseconds()
    if now >= time { return }
    usleep(UInt32(min(1_000_000, (time - now) / 1000 + 1)))
  }
}
