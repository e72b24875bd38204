import Posix
import Synchronization

/// Chunks in this process's memory: what the cache had no room for, or all where there is none.
extension BlobStore {
  /// Memory that chunks without a place in the cache may take: 64 MiB.
  static let memoryChunksMax = 1024

  /// A chunk in memory. It does not keep its blob open.
  struct Shelved {
    weak var blob: RemoteBlob?
    let chunk: Int
    /// What its word was: it may have been dropped since, and have come again.
    let word: ChunkWord
  }

  /// Puts a chunk into memory, where the oldest goes for it.
  func keepInMemory(_ blob: RemoteBlob, _ chunk: Int, _ bytes: UnsafeRawBufferPointer) -> BlobError? {
    if let oldest = shelf[shelfNext], let blob = oldest.blob, blob.memory.view.word(oldest.chunk) == oldest.word {
      blob.memory.drop(oldest.chunk)
    }
    shelf[shelfNext] = nil
    do throws(Errno) { try blob.memory.store(chunk, bytes) } catch {
      return .cache(what: "memory for what it has no room for cannot be had", path: blob.name, error)
    }
    counters.bypassesAtomic.add(1, ordering: .relaxed)
    shelf[shelfNext] = Shelved(blob: blob, chunk: chunk, word: blob.memory.view.word(chunk))
    shelfNext = (shelfNext + 1) % Self.memoryChunksMax
    return nil
  }
}
