import Posix
import Synchronization

/// Chunks in this process's memory: what the cache had no room for, or all where there is none.
extension BlobStore {
  /// Memory that chunks without a place in the cache may take: 64 MiB.
  static let memoryBytesMax: UInt64 = 64 << 20

  /// Chunks in memory. They do not keep their blob open.
  struct Shelved {
    weak var blob: RemoteBlob?
    let chunks: Range<Int>
    let bytes: UInt64
  }

  /// Puts chunks, a flight's at most, into memory, where the oldest go for them.
  func keepInMemory(_ blob: RemoteBlob, _ chunks: Range<Int>, _ bytes: UnsafeRawBufferPointer) -> BlobError? {
    let count = UInt64(bytes.count)
    while shelvedBytes + count > Self.memoryBytesMax, let oldest = shelf.popFirst() {
      // What has come again since goes, too: it comes once more when it is read.
      oldest.blob?.memory.drop(oldest.chunks)
      shelvedBytes -= oldest.bytes
    }
    do throws(Errno) { try blob.memory.store(chunks, bytes) } catch {
      return .cache(what: "memory for what it has no room for cannot be had", path: blob.name, error)
    }
    counters.bypassesAtomic.add(UInt64(chunks.count), ordering: .relaxed)
    shelf.append(Shelved(blob: blob, chunks: chunks, bytes: count))
    shelvedBytes += count
    return nil
  }
}
