import Posix

/// Fetches ranges of blobs. Its methods are called on the thread of its ``NetworkLoop`` only, and so are all closures
/// that it is given.
public final class RegistryClient: @unchecked Sendable {
  let loop: NetworkLoop
  let settings: RegistrySettings

  /// Told of every attempt that failed and of every host that answers again.
  public var onTrouble: ((Trouble) -> Void)?

  /// From any thread. Whether files and addresses of `settings` can be used is a matter of ``RegistrySettings/check()``.
  public init(loop: NetworkLoop, settings: RegistrySettings) {
    self.loop = loop
    self.settings = settings
  }

  /// Fills `buffer`, which stays valid until the completion.
  ///
  /// - Parameters:
  ///   - buffer: Has room for the whole range.
  ///   - deadline: When the fetch fails with ``RegistryError/deadline(_:last:)``. nil: never, whatever can be mended
  ///     by somebody is waited for; without nil what no wait mends (``RegistryError/isRetryable``) fails at once.
  ///   - progress: The first n bytes are in place, and are not written again. n never falls.
  ///   - completion: Called once, never before this method has returned.
  public func fetch(
    _ blob: BlobLocation, _ range: FetchRange, into buffer: UnsafeMutableRawBufferPointer, deadline: Deadline?,
    progress: @escaping (Int) -> Void, completion: @escaping (Result<FetchResult, RegistryError>) -> Void
  ) -> FetchHandle {
    loop.core.enqueue { completion(.failure(.cancelled)) }
    return FetchHandle(number: 0)
  }

  /// The completion gets ``RegistryError/cancelled``, after this method has returned, and the buffer is not written any
  /// more. Nothing when the fetch has ended.
  public func cancel(_ handle: FetchHandle) {}
}
