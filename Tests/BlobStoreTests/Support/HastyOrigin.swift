import BlobStore
import Posix

@testable import Registry

/// Answers before `fetch` has returned, which no origin should.
final class HastyOrigin: BlobOrigin {
  private let blob: TestBlob

  init(_ blob: TestBlob) { self.blob = blob }

  func fetch(
    _ location: BlobLocation, _ range: FetchRange, into buffer: UnsafeMutableRawBufferPointer, deadline: Deadline?,
    progress: @escaping (Int) -> Void, completion: @escaping (Result<FetchResult, RegistryError>) -> Void
  ) -> FetchHandle {
    guard case .bytes(let bytes) = range else { fatalError("a suffix of a blob whose size is known") }
    buffer.copyBytes(from: blob.bytes[Int(bytes.lowerBound)..<Int(bytes.upperBound)])
    completion(
      .success(
        FetchResult(
          range: bytes, totalSize: blob.size, host: "hasty", firstByteMicroseconds: 0, microseconds: 0, attempts: 1)))
    return FetchHandle(number: 0)
  }

  func cancel(_ handle: FetchHandle) {}
}
