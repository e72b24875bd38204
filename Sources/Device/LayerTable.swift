import ZFile

/// A layer as a queue reads it: plain values and addresses, valid while the image lives.
struct LayerSource: BitwiseCopyable {
  /// How bytes of the file are had.
  enum Method: UInt8 {
    /// Through the ring.
    case ring
    /// By a plain read: the file is in memory, and the ring would hand the read to a worker thread.
    case memory
  }

  let file: LayerFile
  let method: Method
  /// Where the layer begins in the file: behind a tar header, or 0. In bytes.
  let payloadOffset: UInt64
  /// Bytes of the layer's blob space: the decompressed size.
  let blobBytes: UInt64
  /// Where the compressed blocks are; nil for a layer that is not compressed.
  let blocks: JumpTable.View?

  @inline(__always)
  var isCompressed: Bool { blocks != nil }
}

/// All layers of an image, bottom first, in memory that never moves.
struct LayerTable: ~Copyable, @unchecked Sendable {
  let base: UnsafePointer<LayerSource>
  let count: Int

  init(_ layers: [LayerSource]) {
    let memory = UnsafeMutablePointer<LayerSource>.allocate(capacity: max(1, layers.count))
    memory.initialize(from: layers, count: layers.count)
    base = UnsafePointer(memory)
    count = layers.count
  }

  deinit { base.deallocate() }
}
