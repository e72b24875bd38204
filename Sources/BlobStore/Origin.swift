import Posix
import Registry

/// A thread that runs what it is given, one after the other.
public protocol EventLoop: AnyObject, Sendable {
  /// Runs `body` on the loop's thread, soon. From any thread.
  func perform(_ body: @escaping @Sendable () -> Void)
  /// Runs `body` on the loop's thread, `milliseconds` from now. From any thread.
  func after(milliseconds: Int, _ body: @escaping @Sendable () -> Void)
  /// Whether the caller is on the loop's thread.
  var isCurrent: Bool { get }
}

/// Where blobs come from: a registry, or something that the tests make. Used on the loop's thread only.
public protocol BlobOrigin: AnyObject {
  /// As `RegistryClient.fetch` has it.
  func fetch(
    _ blob: BlobLocation, _ range: FetchRange, into buffer: UnsafeMutableRawBufferPointer, deadline: Deadline?,
    progress: @escaping (Int) -> Void,
    completion: @escaping (Result<FetchResult, RegistryError>) -> Void
  ) -> FetchHandle
  /// As `RegistryClient.cancel` has it.
  func cancel(_ handle: FetchHandle)
}

extension NetworkLoop: EventLoop {}
extension RegistryClient: BlobOrigin {}
