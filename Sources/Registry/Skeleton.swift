import Posix
public final class NetworkLoop: Sendable {
  public init(name: String) throws(RegistryError) {}
  public func perform(_ body: @escaping @Sendable () -> Void) {}
  public func after(milliseconds: Int, _ body: @escaping @Sendable () -> Void) {}
  public var isCurrent: Bool { true }
  public func stop() {}
}
public enum RegistryError: Error, Equatable, Sendable { case cancelled; case deadline(last: String?); case other(String) }
public final class RegistryClient: @unchecked Sendable {
  public init(loop: NetworkLoop, settings: RegistrySettings) {}
  public func fetch(_ blob: BlobLocation, _ range: FetchRange, expectedSize: UInt64?, into buffer: UnsafeMutableRawBufferPointer, deadline: Deadline?, progress: @escaping (Int) -> Void, completion: @escaping (Result<FetchResult, RegistryError>) -> Void) -> FetchHandle { FetchHandle(number: 0) }
  public func cancel(_ handle: FetchHandle) {}
  public var onTrouble: ((Trouble) -> Void)?
}
extension Trouble: CustomStringConvertible { public var description: String { "" } }
