import Glibc
import Posix
import Registry
import Synchronization

/// A blob of a registry, as this process has it open.
///
/// Its chunks are in the node's cache; what that has no room for, or all of it where there is no cache, is in memory
/// for a while. `BlobStore` brings them there.
public final class RemoteBlob: @unchecked Sendable {
  /// Where it comes from.
  public let location: BlobLocation
  /// Bytes of the whole blob.
  public let size: UInt64
  /// The layer's folder on this machine, where the whole blob is put once it is here; nil for none.
  let folder: String?
  /// The cache's chunks; nil where there is no cache.
  let cached: ChunkFile?
  /// Chunks of this process alone.
  let memory: ChunkFile
  private let checked: UnsafeMutablePointer<Atomic<UInt16>>
  private let hits: UnsafeMutablePointer<Atomic<UInt64>>
  /// Readers note its time.
  private let clock: StoreClock
  /// What readers look at.
  public let view: BlobView

  /// What is under way. Of the store's loop only.
  var traffic = Traffic()

  init(
    location: BlobLocation, size: UInt64, folder: String?, cached: ChunkFile?, clock: StoreClock
  ) throws(Errno) {
    self.location = location
    self.folder = folder
    self.size = size
    self.cached = cached
    self.clock = clock
    memory = try ChunkFile.inMemory(blobSize: size)
    let chunks = memory.chunkCount
    // Zero is no chunk's tag. `calloc` takes pages that are not written from the kernel's one of zeroes.
    guard let tags = calloc(max(1, chunks), MemoryLayout<Atomic<UInt16>>.stride) else { throw Errno(rawValue: ENOMEM) }
    checked = tags.assumingMemoryBound(to: Atomic<UInt16>.self)
    traffic.isSizeKnown = (cached?.presentCount ?? 0) > 0
    hits = .allocate(capacity: 1)
    hits.initialize(to: Atomic(0))
    view = BlobView(
      cache: (cached ?? memory).view, memory: memory.view, checked: checked, hits: hits, clock: clock.seconds)
  }

  deinit {
    free(checked)
    hits.deallocate()
  }

  /// How messages call it: its URL.
  public var name: String { location.url }

  /// The cache's file, or memory where there is no cache.
  public var cacheDescriptor: Int32 { (cached ?? memory).fd }
  /// Memory.
  public var memoryDescriptor: Int32 { memory.fd }

  var chunkCount: Int { memory.chunkCount }

  /// The chunks that a range of bytes, not empty, touches.
  func chunks(of range: Range<UInt64>) -> Range<Int> { ChunkMap.chunks(of: range) }

  /// The bytes of some chunks.
  func bytes(of chunks: Range<Int>) -> Range<UInt64> {
    memory.bytes(of: chunks)
  }

  /// Whether a chunk is here, whole or not.
  func hasChunk(_ chunk: Int) -> Bool {
    memory.view.word(chunk).isPresent || (cached?.view.word(chunk).isPresent ?? false)
  }

  /// Bytes of the chunks that a range, not empty and within the blob, touches and that are not here. From any thread.
  public func missingBytes(_ range: Range<UInt64>) -> UInt64 {
    chunks(of: range).reduce(0) { hasChunk($1) ? $0 : $0 + UInt64(bytes(of: $1..<$1 + 1).count) }
  }

  /// Fills `buffer` from what is here; false when not all of it is, or was while it was read.
  func readHere(_ buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(Errno) -> Bool {
    guard let lease = view.lease(offset, UInt64(buffer.count)) else { return false }
    let file = lease.place == .cache ? cached ?? memory : memory
    return try file.read(buffer, at: offset) && view.holds(lease, offset, UInt64(buffer.count))
  }
}
