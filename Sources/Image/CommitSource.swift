import BlobStore
import LSMT

/// A single layer that is to be written anew: an upper, or a sealed layer.
struct CommitSource {
  let layer: Layer
  let segments: [Segment]
  /// Its files, and the configuration that named them.
  let files: [String]
  /// What of it is not whole, a sentence each.
  let notes: [String]

  /// Finds out what is at `path`: the configuration of an image with an upper, the data file of an upper whose index is
  /// `index`, or a sealed layer.
  static func open(_ path: String, index: String?, pendingFolder: String) throws(ImageError) -> CommitSource {
    let path = absolutePath(path)
    let blob: Blob
    do throws(BlobError) { blob = try Blob(path: path) } catch { throw .blob(error) }
    let prefix = try blob.bytes(at: 0, count: Int(min(blob.payloadSize, UInt64(LayerRecord.size))))
    if FileSignature.isJSON(prefix), !blob.isTarWrapped {
      guard index == nil else {
        throw .refused("\(path): is a configuration, which names its index itself: leave --index out")
      }
      return try upper(of: try ImageConfig.load(path), path, pendingFolder)
    }
    if try isUpper(prefix, blob) {
      return CommitSource(
        try OpenUpper.open(data: path, index: index.map { absolutePath($0) }, pendingFolder: pendingFolder),
        files: [path])
    }
    guard index == nil else { throw .refused("\(path): is no data file of an upper: leave --index out") }
    let opened = try Layer.open(blob)
    return CommitSource(layer: opened.layer, segments: opened.segments, files: [path], notes: [])
  }

  private init(layer: Layer, segments: [Segment], files: [String], notes: [String]) {
    self.layer = layer
    self.segments = segments
    self.files = files
    self.notes = notes
  }

  private init(_ upper: OpenUpper, files: [String]) {
    layer = upper.opened.layer
    segments = upper.opened.segments
    self.files = files + [upper.indexPath].compactMap(\.self)
    notes = upper.notes
  }

  private static func upper(
    of config: ImageConfig, _ path: String, _ pendingFolder: String
  ) throws(ImageError) -> CommitSource {
    try config.requireSupported(upper: .readOnly(pendingFolder: pendingFolder))
    guard let upper = try OpenUpper.of(config, use: .readOnly(pendingFolder: pendingFolder)) else {
      throw .refused(
        "\(path): has no `upper` to commit; `warmblk merge` makes one layer of a whole image")
    }
    return CommitSource(upper, files: [path, upper.opened.layer.blob.path])
  }

  /// Whether it is the data file of an upper that is not sealed, or its index file, which is refused later by its flags.
  private static func isUpper(_ prefix: [UInt8], _ blob: Blob) throws(ImageError) -> Bool {
    guard !blob.isTarWrapped, LayerRecord.isLSMT(prefix.span.bytes) else { return false }
    let header: LayerRecord
    do throws(LSMTError) { header = try LayerRecord(parsing: prefix.span.bytes, as: .header) } catch {
      throw .layer(path: blob.path, error)
    }
    if !header.isDataFile {
      throw .refused("\(blob.path): is the index file of an upper: name the data file, and this one as --index")
    }
    return try !OpenUpper.isSealed(blob, header)
  }
}
