import BlobStore
import LSMT
import UpperLayer

/// An upper that was sealed.
public struct SealResult: Equatable, Sendable, Encodable {
  /// The layer that it is now, absolute: what was its data file.
  public let layerPath: String
  /// The configuration that has it as its topmost layer now; nil when none was named.
  public let configPath: String?
  /// Bytes of the layer.
  public let size: UInt64
  /// Its identity.
  public let uuid: String
  /// Segments.
  public let segmentCount: Int
  /// What the caller should know, a sentence each.
  public let notes: [String]
}

/// Makes an upper a layer where it is: its index goes to the end of its data file, and the configuration names that as
/// the topmost layer. Nothing is copied, and what was overwritten stays in the file.
public struct Sealer {
  /// Seals the upper of the configuration at `path`, or that in the data file there, whose index is `index`. What was
  /// sealed before, and its configuration not yet written, is finished.
  public static func run(
    _ path: String, index: String? = nil, pendingFolder: String, remote: RemoteSettings? = nil
  ) throws(ImageError) -> SealResult {
    let target = try OpenedUpper.Target(path, index: index, pendingFolder: pendingFolder)
    var notes: [String] = []
    do throws(ImageError) {
      let opened = try OpenedUpper.open(target, pendingFolder: pendingFolder, remote: remote)
      notes = opened.upper.recovery.lines
      do throws(UpperError) { try opened.upper.seal() } catch { throw .upper(error) }
      try opened.close()
    } catch {
      guard case .upper(.sealed) = error, case .image = target else { throw error }
      notes.append("\(target.files.data) was sealed already")
    }
    let blob: Blob
    do throws(BlobError) { blob = try Blob(path: target.files.data) } catch { throw .blob(error) }
    let layer = try Layer.open(blob).layer
    var configPath: String?
    if case .image(let config) = target, let file = config.path {
      var edit = try ConfigEdit(file)
      try edit.lowerUpper(size: blob.fileSize)
      try edit.save()
      configPath = file
    }
    notes.append("\(target.files.index) has no use any more")
    return SealResult(
      layerPath: blob.path, configPath: configPath, size: blob.fileSize, uuid: layer.record.uuid.description,
      segmentCount: layer.segmentCount, notes: notes)
  }
}
