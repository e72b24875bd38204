import BlobStore
import Image
import LSMT
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
  /// The first slot of a ring's table that no file of a layer has.
  let nextSlot: Int32

  /// Slots of a ring's table for the uppers that one device may have after each other.
  static let spareSlots = SegmentMap.maxLayers

  init(_ layers: [LayerSource], nextSlot: Int32 = 0) {
    self.nextSlot = nextSlot
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
    self.init(
      lowers + (upper.map { [Self.source(of: $0, slot: Int32(lowers.count + 1))] } ?? []), nextSlot: Int32(extra + 1))
  }

  /// The table of one layer more, a new upper, whose file has the next slot.
  func adding(_ upper: Upper) -> LayerTable {
    LayerTable(entries + [Self.source(of: upper, slot: nextSlot)], nextSlot: nextSlot + 1)
  }

  /// The table in which layer `number` is read from a file that was opened anew; the slot has the same file still.
  func replacing(_ number: Int, by layer: Layer) -> LayerTable {
    var entries = entries
    let old = entries[number]
    entries[number] = LayerSource(
      file: LayerFile(slot: old.file.slot, descriptor: layer.blob.fd), method: old.method,
      payloadOffset: layer.blob.payloadOffset, blobBytes: layer.blobSize, blocks: layer.blocks)
    return LayerTable(entries, nextSlot: nextSlot)
  }

  /// The file of the topmost layer.
  var topFile: LayerFile { base[count - 1].file }

  private var entries: [LayerSource] { Array(UnsafeBufferPointer(start: base, count: count)) }

  /// The upper as a layer: its sectors are those of its data file.
  private static func source(of upper: Upper, slot: Int32) -> LayerSource {
    let method = try? ReadMethod(of: upper.dataDescriptor)
    return LayerSource(
      file: LayerFile(slot: slot, descriptor: upper.dataDescriptor), method: method == .memory ? .memory : .ring,
      payloadOffset: 0, blobBytes: .max, blocks: nil)
  }

  /// The descriptors of slots 1 and up.
  var descriptors: [Int32] {
    let layers = UnsafeBufferPointer(start: base, count: count)
    return layers.map(\.file.descriptor) + layers.filter { $0.view != nil }.map(\.memoryFile.descriptor)
  }

  deinit { base.deallocate() }
}
