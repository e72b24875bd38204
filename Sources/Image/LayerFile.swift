import LSMT
import ZFile

/// The file of a layer while it is written: what is appended goes through the compression and into the tar that were
/// asked for.
final class LayerFile {
  /// How the layer is stored.
  struct Format: Equatable {
    /// nil: not compressed.
    var compression: Compression?
    /// Bytes of content per compressed block.
    var blockSize: Int
    var isTarWrapped: Bool

    static let plain = Format(compression: nil, blockSize: 4096, isTarWrapped: false)
  }

  let output: OutputFile
  private let format: Format
  private var zfile: ZFileWriter?
  private var payloadOffset: UInt64 { format.isTarWrapped ? UInt64(TarWrapper.headerSize) : 0 }

  init(path: String, format: Format) throws(ImageError) {
    self.format = format
    if let compression = format.compression {
      do throws(ZFileError) {
        zfile = try ZFileWriter(compression: compression, blockSize: format.blockSize)
      } catch {
        throw .zfile(path: path, offset: 0, error)
      }
    } else {
      zfile = nil
    }
    output = try OutputFile(path: path)
    if format.isTarWrapped { try output.append(TarWrapper.placeholder()) }
  }

  /// Adds `bytes` of the layer.
  func append(_ bytes: UnsafeRawBufferPointer) throws(ImageError) {
    let output = output
    guard zfile != nil else { return try output.append(bytes) }
    try zfile!.append(bytes) { stored throws(ImageError) in try output.append(stored) }
  }

  /// Adds `bytes` of the layer.
  func append(_ bytes: [UInt8]) throws(ImageError) {
    try bytes.span.bytes.withUnsafeBytes { bytes throws(ImageError) in try append(bytes) }
  }

  /// Replaces the layer's header, which only a layer that is not compressed allows.
  func replaceHeader(_ header: [UInt8]) throws(ImageError) {
    precondition(format.compression == nil)
    try output.overwrite(header, at: payloadOffset)
  }

  /// Ends the layer and makes it durable, still under its temporary name.
  func finish() throws(ImageError) {
    let output = output
    if zfile != nil {
      let header = try zfile!.finish { stored throws(ImageError) in try output.append(stored) }
      try output.overwrite(header, at: payloadOffset)
    }
    if format.isTarWrapped {
      let size = output.size - payloadOffset
      try output.append(TarWrapper.ending(payloadSize: size))
      try output.overwrite(TarWrapper.header(payloadSize: size), at: 0)
    }
    try output.synchronize()
  }
}
