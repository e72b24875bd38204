import Posix
public final class NetworkLoop: Sendable {
  public init(name: String) throws(RegistryError) {}
  public func perform(_ body: @escaping @Sendable () -> Void) {}
  public func after(milliseconds: Int, _ body: @escaping @Sendable () -> Void) {}
  public var isCurrent: Bool { true }
  public func stop() {}
}
public struct BlobLocation: Hashable, Sendable { public var repoBlobURL: String; public var digest: String
 public init(repoBlobURL: String, digest: String) { self.repoBlobURL = repoBlobURL; self.digest = digest }
 public var url: String { repoBlobURL + digest } }
public enum FetchRange: Sendable { case bytes(Range<UInt64>); case suffix(Int) }
public struct FetchResult: Sendable { public var range: Range<UInt64>; public var totalSize: UInt64? ; public var host: String ; public var firstByteMicroseconds: Int; public var microseconds: Int ; public var attempts: Int
 public init(range: Range<UInt64>, totalSize: UInt64?, host: String, firstByteMicroseconds: Int, microseconds: Int, attempts: Int) { self.range = range; self.totalSize = totalSize; self.host = host; self.firstByteMicroseconds = firstByteMicroseconds; self.microseconds = microseconds; self.attempts = attempts } }
public struct FetchHandle: Hashable, Sendable { public init() {} }
public struct RegistrySettings: Sendable { public init() {} }
public enum RegistryError: Error, Equatable, Sendable { case cancelled; case deadline(last: String?); case other(String) }
public final class RegistryClient {
  public init(loop: NetworkLoop, settings: RegistrySettings) {}
  public func fetch(_ blob: BlobLocation, _ range: FetchRange, expectedSize: UInt64?, into buffer: UnsafeMutableRawBufferPointer, deadline: Deadline?, progress: @escaping (Int) -> Void, completion: @escaping (Result<FetchResult, RegistryError>) -> Void) -> FetchHandle { FetchHandle() }
  public func cancel(_ handle: FetchHandle) {}
}
