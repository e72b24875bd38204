import Posix

/// Fetches ranges of blobs. Its methods are called on the thread of its ``NetworkLoop`` only, and so are all closures
/// that it is given.
public final class RegistryClient: @unchecked Sendable {
  let loop: NetworkLoop
  let settings: RegistrySettings
  let authorizer: Authorizer
  var memory = BlobMemory()

  private var hosts: [String: HostState] = [:]
  private var fetches: [UInt64: Fetch] = [:]
  private var lastNumber: UInt64 = 0
  private var isStopped = false

  /// Hosts that are remembered, as long as there are idle ones to forget.
  private static let hostLimit = 1024

  /// Told of every attempt that failed and of every host that answers again. May call the client.
  public var onTrouble: ((Trouble) -> Void)?

  /// Whether a fetch fails after three attempts in a row without a byte, whatever its deadline, and at once where a
  /// host's name or certificate is wrong: for when somebody waits for the news.
  public var isHasty = false

  /// From any thread. Whether the addresses in `settings` can be used is a matter of ``RegistrySettings/check()``.
  public init(loop: NetworkLoop, settings: RegistrySettings) {
    self.loop = loop
    self.settings = settings
    authorizer = Authorizer(core: loop.core, settings: settings)
    loop.perform { [weak self] in
      loop.core.stopHooks.append { self?.stop() }
    }
  }

  /// Fetches that have not ended.
  public var count: Int { fetches.count }

  /// Says how large a blob is, so that any other size of an answer is an error. Without it, the size that the registry
  /// says first counts.
  public func setSize(_ size: UInt64, ofDigest digest: String) { memory.noteSize(size, digest) }

  /// Fills `buffer`, which stays valid until the completion.
  ///
  /// - Parameters:
  ///   - blob: Where it is; a location that cannot be one fails at once.
  ///   - range: Which bytes of it.
  ///   - buffer: Has room for the whole range.
  ///   - deadline: When the fetch fails with ``RegistryError/deadline(_:last:)``, or earlier when nothing can come of it
  ///     before. nil: never; whatever somebody can mend is waited for, also what with a deadline fails at once
  ///     (``RegistryError/isRetryable``).
  ///   - progress: The first n bytes are in place, and are not written again. n never falls.
  ///   - completion: Called once, never before this method has returned.
  public func fetch(
    _ blob: BlobLocation, _ range: FetchRange, into buffer: UnsafeMutableRawBufferPointer, deadline: Deadline?,
    progress: @escaping (Int) -> Void, completion: @escaping (Result<FetchResult, RegistryError>) -> Void
  ) -> FetchHandle {
    assert(loop.isCurrent, "a client is used on the thread of its loop")
    lastNumber += 1
    let handle = FetchHandle(number: lastNumber)
    if let error = isStopped ? .cancelled : problem(blob, range, buffer) {
      loop.core.enqueue { completion(.failure(error)) }
      return handle
    }
    let fetch = Fetch(
      client: self, handle: handle, blob: blob, asked: range, buffer: buffer, deadline: deadline, progress: progress,
      completion: completion)
    fetches[handle.number] = fetch
    fetch.start()
    return handle
  }

  /// The completion gets ``RegistryError/cancelled``, after this method has returned, and the buffer is not written any
  /// more. Nothing when the fetch has ended.
  public func cancel(_ handle: FetchHandle) { fetches[handle.number]?.finish(.failure(.cancelled)) }

  private func problem(
    _ blob: BlobLocation, _ range: FetchRange, _ buffer: UnsafeMutableRawBufferPointer
  ) -> RegistryError? {
    guard BlobLocation.isDigest(blob.digest) else {
      return .invalidBlob(blob, problem: "the digest is not sha256: and 64 lower-case hexadecimal digits")
    }
    // On its own, because the digest behind an incomplete URL could complete it.
    guard let base = WebAddress(blob.repoBlobURL), base.query == nil, WebAddress(blob.url) != nil else {
      return .invalidBlob(blob, problem: "not an http or https URL of a repository's blobs")
    }
    guard range.count > 0, range.count <= buffer.count else { return .invalidRange(range, room: buffer.count) }
    return nil
  }

  private func stop() {
    isStopped = true
    for fetch in fetches.values { fetch.finish(.failure(.cancelled)) }
  }

  // MARK: For fetches

  func ended(_ handle: FetchHandle) { fetches[handle.number] = nil }

  /// `key` tells hosts apart, `name` is what errors call it.
  func host(_ key: String, name: String) -> HostState {
    if let host = hosts[key] { return host }
    // Registries may redirect to ever new hosts.
    if hosts.count >= Self.hostLimit { hosts = hosts.filter { !$0.value.isIdle } }
    let host = HostState(name: name, core: loop.core, settings: settings)
    hosts[key] = host
    return host
  }

  func tell(_ trouble: Trouble) {
    loop.core.enqueue { [self] in onTrouble?(trouble) }
  }
}
