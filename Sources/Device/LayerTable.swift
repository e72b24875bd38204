import BlobStore
import Image
import Posix
import UpperLayer
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
  /// Whether bytes are here, of a layer that comes from a registry; nil for a file of this machine, where all are.
  let view: BlobView?
  /// The other file of a remote layer: what the cache had no room for. `file` is the cache's.
  let memoryFile: LayerFile

  init(
    file: LayerFile, method: Method, payloadOffset: UInt64, blobBytes: UInt64, blocks: JumpTable.View?,
    view: BlobView? = nil, memoryFile: LayerFile = LayerFile(slot: 0, descriptor: -1)
  ) {
    self.file = file
    self.method = method
    self.payloadOffset = payloadOffset
    self.blobBytes = blobBytes
    self.blocks = blocks
    self.view = view
    self.memoryFile = memoryFile
  }

  @inline(__always)
  var isCompressed: Bool { blocks != nil }
}

/// All layers of an image, bottom first, the upper last, in memory that never moves.
struct LayerTable: ~Copyable, @unchecked Sendable {
  let base: UnsafePointer<LayerSource>
  let count: Int

  init(_ layers: [LayerSource]) {
    let memory = UnsafeMutablePointer<LayerSource>.allocate(capacity: max(1, layers.count))
    memory.initialize(from: layers, count: layers.count)
    base = UnsafePointer(memory)
    count = layers.count
  }

  /// The layers of an image, and their files in a ring's table: slot 0 is `/dev/ublkcN`, then the layers', then the
  /// other files of those that are remote. `mapped`: where the kernel may read a layer's file.
  init(of image: Image, upper: Upper?, mapped: [UnsafeRawBufferPointer?]) {
    var extra = image.layers.count + (upper == nil ? 0 : 1)
    let lowers = image.layers.enumerated().map { number, layer in
      let file = LayerFile(slot: Int32(number + 1), descriptor: layer.blob.fd, mapped: mapped[number])
      guard let remote = layer.blob.remote?.blob else {
        return LayerSource(
          file: file, method: layer.blob.readMethod == .memory ? .memory : .ring,
          payloadOffset: layer.blob.payloadOffset, blobBytes: layer.blobSize, blocks: layer.blocks)
      }
      extra += 1
      let isChecking = layer.blocks?.hasChecksums ?? false
      return LayerSource(
        file: file, method: .ring, payloadOffset: layer.blob.payloadOffset, blobBytes: layer.blobSize,
        blocks: layer.blocks, view: isChecking ? remote.view.forCheckingReader : remote.view,
        memoryFile: LayerFile(slot: Int32(extra), descriptor: remote.memoryDescriptor))
    }
    self.init(lowers + (upper.map { [Self.source(of: $0, slot: lowers.count + 1)] } ?? []))
  }

  /// The upper as a layer: its sectors are those of its data file.
  private static func source(of upper: Upper, slot: Int) -> LayerSource {
    let method = try? ReadMethod(of: upper.dataDescriptor)
    return LayerSource(
      file: LayerFile(slot: Int32(slot), descriptor: upper.dataDescriptor), method: method == .memory ? .memory : .ring,
      payloadOffset: 0, blobBytes: .max, blocks: nil)
  }

  /// The descriptors of slots 1 and up.
  var descriptors: [Int32] {
    let layers = UnsafeBufferPointer(start: base, count: count)
    return layers.map(\.file.descriptor) + layers.filter { $0.view != nil }.map(\.memoryFile.descriptor)
  }

  deinit { base.deallocate() }
}
