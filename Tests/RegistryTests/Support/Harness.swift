import Glibc
import Posix
import Synchronization
import TestRegistry
import TestSupport

@testable import Registry

/// A loop and a client of it, called from a test's thread.
final class Harness: Sendable {
  let loop: NetworkLoop
  let client: RegistryClient
  private let box = Box()

  private final class Box: Sendable {
    let troubles = Mutex<[Trouble]>([])
  }

  /// What a fetch came to.
  struct Outcome {
    var result: Result<FetchResult, RegistryError>
    /// The buffer, as much of it as was asked for.
    var bytes: [UInt8]
    /// From the call to the completion.
    var milliseconds: Int
    /// What `progress` said.
    var progress: [Int]

    var error: RegistryError? { if case .failure(let error) = result { error } else { nil } }
    var success: FetchResult? { try? result.get() }
  }

  init(_ settings: RegistrySettings = .fast()) throws(RegistryError) {
    loop = try NetworkLoop(name: "test-loop")
    client = RegistryClient(loop: loop, settings: settings)
    let (client, box) = (client, box)
    loop.perform {
      client.onTrouble = { trouble in box.troubles.withLock { $0.append(trouble) } }
    }
  }

  deinit { loop.stop() }

  /// What ``RegistryClient/onTrouble`` was told so far.
  var troubles: [Trouble] { box.troubles.withLock { $0 } }

  /// The errors of the attempts that failed so far.
  var failures: [RegistryError] {
    troubles.compactMap { if case .attempt(_, _, let error, _, _) = $0 { error } else { nil } }
  }

  /// Begins a fetch. `milliseconds` is its deadline; nil: none.
  func start(_ blob: BlobLocation, _ range: FetchRange, within milliseconds: Int? = 20_000) -> Pending {
    let pending = Pending(room: max(0, min(range.count, 64 << 20)))
    let deadline = milliseconds.map { Deadline(milliseconds: $0) }
    loop.perform { [client] in pending.start(client, blob, range, deadline) }
    return pending
  }

  /// A fetch and its outcome.
  func fetch(_ blob: BlobLocation, _ range: FetchRange, within milliseconds: Int? = 20_000) -> Outcome {
    start(blob, range, within: milliseconds).wait()
  }

  /// Runs `body` on the loop's thread and waits for it.
  func onLoop<Value: Sendable>(_ body: @escaping @Sendable (RegistryClient) -> Value) -> Value {
    let result = Mutex<Value?>(nil)
    let shared = Shared(result)
    loop.perform { [client] in
      let value = body(client)
      shared.mutex.withLock { $0 = value }
    }
    guard Deadline(milliseconds: 20_000).wait(interval: 1, until: { shared.mutex.withLock { $0 != nil } }) else {
      fatalError("the loop does not run")
    }
    return shared.mutex.withLock { $0! }
  }
}

private final class Shared<Value: Sendable>: Sendable {
  let mutex: Mutex<Value?>
  init(_ mutex: consuming Mutex<Value?>) { self.mutex = mutex }
}

/// A fetch that a test waits for.
final class Pending: @unchecked Sendable {
  private let buffer: UnsafeMutableRawBufferPointer
  private let state = Mutex(State())
  private let startedAt = monotonicNanoseconds()

  private struct State {
    var handle: FetchHandle?
    var result: Result<FetchResult, RegistryError>?
    var milliseconds = 0
    var progress: [Int] = []
    var completions = 0
  }

  init(room: Int) {
    buffer = .allocate(byteCount: max(1, room), alignment: 16)
    buffer.initializeMemory(as: UInt8.self, repeating: 0xee)
  }

  deinit { buffer.deallocate() }

  func start(_ client: RegistryClient, _ blob: BlobLocation, _ range: FetchRange, _ deadline: Deadline?) {
    let handle = client.fetch(
      blob, range, into: buffer, deadline: deadline,
      progress: { count in self.state.withLock { $0.progress.append(count) } },
      completion: { result in
        let milliseconds = Int((monotonicNanoseconds() - self.startedAt) / 1_000_000)
        self.state.withLock { state in
          precondition(state.handle != nil, "completed before fetch returned")
          state.result = result
          state.milliseconds = milliseconds
          state.completions += 1
        }
      })
    state.withLock { $0.handle = handle }
  }

  var handle: FetchHandle? { state.withLock { $0.handle } }
  var progress: [Int] { state.withLock { $0.progress } }
  var completions: Int { state.withLock { $0.completions } }
  var isDone: Bool { state.withLock { $0.result != nil } }

  /// Ends the test when nothing comes: whoever waits here has a deadline of its own.
  func wait(limit: Int = 30_000) -> Harness.Outcome {
    guard Deadline(milliseconds: limit).wait(interval: 1, until: { isDone }) else { fatalError("a fetch hangs") }
    return state.withLock { state in
      let count = (try? state.result!.get()).map { Int($0.range.upperBound - $0.range.lowerBound) } ?? buffer.count
      return Harness.Outcome(
        result: state.result!, bytes: Array(buffer[..<count]), milliseconds: state.milliseconds,
        progress: state.progress)
    }
  }
}

extension RegistrySettings {
  /// Short pauses, no proxy of the machine. Limits are longer than a loaded machine needs.
  static func fast(_ change: (inout RegistrySettings) -> Void = { _ in }) -> RegistrySettings {
    var settings = RegistrySettings()
    settings.proxy = ""
    settings.limits.connect = 2000
    settings.limits.firstByte = 5000
    settings.limits.stallSeconds = 5
    settings.limits.stallBytesPerSecond = 100
    settings.limits.retryDelay = 10
    settings.limits.retryDelayMax = 100
    settings.limits.retriesPerSecond = 50
    settings.limits.breakerDelay = 100
    settings.limits.breakerDelayMax = 200
    settings.limits.token = 5000
    change(&settings)
    return settings
  }
}

/// A blob with a name of its own: `count` bytes that differ everywhere.
func makeBlob(_ count: Int, seed: UInt64 = 1) -> [UInt8] {
  var random = SplitMix(state: seed)
  var bytes = [UInt8](repeating: 0, count: count)
  bytes.withUnsafeMutableBytes { buffer in
    for offset in stride(from: 0, to: count, by: 8) {
      let word = random.next()
      for byte in 0..<min(8, count - offset) {
        buffer[offset + byte] = UInt8(truncatingIfNeeded: word >> (8 * UInt64(byte)))
      }
    }
  }
  return bytes
}

/// A digest for tests, which nothing here compares with the bytes.
func digest(_ number: Int) -> String {
  let text = String(number, radix: 16)
  return "sha256:" + String(repeating: "0", count: 64 - text.count) + text
}
