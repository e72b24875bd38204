import Glibc
import LSMT
import Posix

/// Makes the file of a layer in one go: header, data, index and trailer, under a temporary name until all of it is
/// there, was read back and is durable.
struct LayerOutput {
  let options: LayerOptions
  let path: String
  /// Bytes that are stored or left out as one.
  static let grain = 4096

  /// A layer as `options` say. Never replaced, even when forced to, are the files that it is made of, `sources`.
  init(_ options: LayerOptions, sources: [String]) throws(ImageError) {
    try options.check()
    self.options = options
    path = absolutePath(options.output)
    if fileExists(path), !options.force {
      throw .refused("\(path): exists already; choose another name, or force it to be replaced")
    }
    let target = FileIdentity(path: path)
    for source in sources where target != nil && FileIdentity(path: source) == target {
      throw .refused("\(path): is what the layer is made of, and cannot be replaced by it; choose another name")
    }
  }

  /// Makes a layer of a device of `virtualSize` bytes, over `below`, of what `body` adds to it.
  func write(
    virtualSize: UInt64, parentUUID: LayerUUID, below: LayerBuilder.Below, advice: String, notes: [String],
    _ body: (LayerBuilder) throws(ImageError) -> Void
  ) throws(ImageError) -> LayerResult {
    let parentUUID = options.parentUUID ?? parentUUID
    let format = LayerFile.Format(
      compression: options.compression, blockSize: options.blockSize, isTarWrapped: options.isTarWrapped)
    let file = try LayerFile(path: path, format: format)
    let writer = LayerWriter(
      virtualSize: virtualSize, uuid: options.uuid, parentUUID: parentUUID, userTag: Array(options.tag.utf8),
      allowsManyEntries: options.allowsManyEntries)
    let builder = try LayerBuilder(file: file, writer: writer, below: below, grain: Self.grain, advice: advice)
    try body(builder)
    try file.append(try builder.finish())
    try file.finish()
    let output = file.output
    let canBeRead = builder.entryCount <= SealedIndex.maxEntries
    let digest =
      canBeRead
      ? try output.checkedLayer(virtualSize: virtualSize, segmentCount: builder.entryCount) : try output.digest()
    try output.publish(force: options.force)
    var notes = notes
    if !canBeRead {
      notes.append(
        "the layer has \(builder.entryCount) segments: neither Warmblk nor overlaybd since August 2026 will open it")
    }
    if options.compression != nil, options.blockSize > 32768 {
      notes.append("overlaybd cannot read blocks of \(options.blockSize) bytes that do not compress")
    }
    return LayerResult(
      layerPath: path, digest: digest, size: output.size, uuid: options.uuid.description,
      parentUUID: parentUUID.description, virtualSize: virtualSize, segmentCount: builder.entryCount,
      dataBytes: builder.dataBytes, zeroedBytes: builder.zeroedBytes, notes: notes)
  }
}
