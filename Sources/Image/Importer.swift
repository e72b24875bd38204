import BlobStore
import Glibc
import LSMT
import Posix
import ZFile

/// Makes a sealed layer of a raw disk image, and the configuration of an image with that layer on top.
///
/// Data streams through in constant memory. Zeroes are not stored: without a parent they stay unmapped, over other
/// bytes of a parent they become zeroed segments. With a parent only what differs is stored.
public struct Importer {
  private let options: ImportOptions
  private let layerPath: String
  private let configPath: String
  private let parent: ParentView?
  private let uuid: LayerUUID

  /// Does it all; `progress` is told bytes of the raw image. An import that fails leaves no file behind.
  public static func run(
    _ options: ImportOptions, progress: (Progress) -> Void = { _ in }
  ) throws(ImageError) -> ImportResult {
    try Importer(options).run(progress)
  }

  private init(_ options: ImportOptions) throws(ImageError) {
    try options.check()
    self.options = options
    let directory = absolutePath(options.directory)
    layerPath = absolutePath(ImportOptions.layerName, in: directory)
    configPath = absolutePath(ImportOptions.configName, in: directory)
    if let path = options.parent { parent = try ParentView(configPath: path) } else { parent = nil }
    uuid = options.uuid ?? .random()
    do throws(Errno) { try makeDirectories(directory) } catch {
      throw .system(call: "making the folder", path: directory, error)
    }
    try checkTargets()
  }

  private func run(_ progress: (Progress) -> Void) throws(ImageError) -> ImportResult {
    var source = try RawSource.open(options.source)
    let format = LayerFile.Format(
      compression: options.compression, blockSize: options.blockSize, isTarWrapped: options.isTarWrapped)
    let file = try LayerFile(path: layerPath, format: format)
    // The header says how large the device is, which a stream tells at its end. Compressed it cannot be changed any
    // more, so such a stream becomes an uncompressed layer first.
    let needsSpool = source.size == nil && options.compression != nil
    let first = needsSpool ? try LayerFile(path: layerPath + ".spool", format: .plain) : file
    let builder = try LayerBuilder(
      file: first, writer: writer(virtualSize: roundedToSector(source.size ?? 0)),
      below: parent.map { .parent($0) } ?? .nothing,
      grain: options.granularity, advice: "import with a coarser granularity than \(options.granularity) bytes")
    let size = try copy(&source, to: builder, progress)
    let virtualSize = roundedToSector(size)
    try first.append(try builder.finish().resized(to: virtualSize))
    if source.size == nil { try first.replaceHeader(writer(virtualSize: virtualSize).header()) }
    if needsSpool { try first.output.copy(to: file) }
    try file.finish()
    let digest = try file.output.checkedLayer(virtualSize: virtualSize, segmentCount: builder.entryCount)
    try file.output.publish(force: options.force)
    try writeConfig(digest: digest, size: file.output.size)
    return ImportResult(
      layerPath: layerPath, configPath: configPath, digest: digest, size: file.output.size,
      uuid: uuid.description, virtualSize: virtualSize, segmentCount: builder.entryCount,
      dataBytes: builder.dataBytes, zeroedBytes: builder.zeroedBytes, notes: notes(size, virtualSize))
  }

  private func writer(virtualSize: UInt64) -> LayerWriter {
    LayerWriter(
      virtualSize: virtualSize, uuid: uuid, parentUUID: parent?.image.layers.last?.record.uuid ?? .null,
      userTag: Array(options.message.utf8))
  }

  /// Feeds the whole source to `builder`; returns its bytes.
  private func copy(
    _ source: inout RawSource, to builder: LayerBuilder, _ progress: (Progress) -> Void
  ) throws(ImageError) -> UInt64 {
    let buffer = Bytes(count: stepSize)
    let total = source.size
    var offset: UInt64 = 0
    while let piece = try source.next(into: buffer.all, grain: UInt64(options.granularity)) {
      switch piece {
      case .hole(let count):
        try builder.addHole(roundedToSector(count), at: offset)
        offset += count
      case .data(let count):
        let whole = Int(roundedToSector(UInt64(count)))
        memset(buffer.all.baseAddress! + count, 0, whole - count)
        try builder.add(UnsafeRawBufferPointer(buffer.part(0..<whole)), at: offset)
        offset += UInt64(count)
      }
      progress(Progress(done: offset, total: total))
    }
    if offset == 0 { throw .refused("\(source.path): is empty; a device needs at least a sector") }
    return offset
  }

  private func roundedToSector(_ bytes: UInt64) -> UInt64 {
    (bytes + UInt64(sectorSize - 1)) / UInt64(sectorSize) * UInt64(sectorSize)
  }
}

extension Importer {
  /// Refuses to replace what is there, unless asked to, and what the parent consists of in any case.
  private func checkTargets() throws(ImageError) {
    for path in [layerPath, configPath] where fileExists(path) && !options.force {
      throw .refused("\(path): exists already; choose another folder, or force it to be replaced")
    }
    guard let parent else { return }
    let target = FileIdentity(path: layerPath)
    for layer in parent.image.layers where target != nil && FileIdentity(path: layer.blob.path) == target {
      throw .refused("\(layerPath): is a layer of the parent, which cannot be replaced; choose another folder")
    }
    let config = FileIdentity(path: configPath)
    if let path = parent.image.config.path, config != nil, FileIdentity(path: path) == config {
      throw .refused("\(configPath): is the parent, which cannot be replaced; choose another folder")
    }
  }

  private func writeConfig(digest: String, size: UInt64) throws(ImageError) {
    var lowers: [ImageConfig.Lower] = []
    if let parent {
      for (lower, layer) in zip(parent.image.config.lowers, parent.image.layers) {
        lowers.append(.init(file: layer.blob.path, digest: lower.digest, size: layer.blob.fileSize))
      }
    }
    lowers.append(.init(file: layerPath, digest: digest, size: size))
    let bytes = try ImageConfig(lowers: lowers).encoded()
    do throws(Errno) { try writeFileAtomically(configPath, bytes, durable: true) } catch {
      throw .system(call: "writing the image configuration", path: configPath, error)
    }
  }

  private func notes(_ size: UInt64, _ virtualSize: UInt64) -> [String] {
    var notes: [String] = []
    if size != virtualSize {
      notes.append(
        "the raw image has \(size) bytes, no multiple of \(sectorSize): \(virtualSize - size) zero bytes were added")
    }
    if options.compression != nil, options.blockSize > 32768 {
      notes.append("overlaybd cannot read blocks of \(options.blockSize) bytes that do not compress")
    }
    if let parent {
      let below = parent.image.layers.last { $0.record.virtualSize > 0 }?.record.virtualSize ?? 0
      if below != virtualSize { notes.append("the parent has \(below) bytes, the new image \(virtualSize)") }
    }
    return notes
  }
}
