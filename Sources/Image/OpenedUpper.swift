import BlobStore
import LSMT
import Posix
import UpperLayer

/// An upper that a command changes without a device, open and locked, and where it was named.
struct OpenedUpper {
  let upper: Upper
  /// The layers below it; nil when there are none, or it was named by its data file.
  let below: Image?

  /// Opens the upper of `config`, or the one in the files `data` and `index`. What a killed server left is brought in
  /// order first.
  static func open(
    _ target: Target, pendingFolder: String, remote: RemoteSettings?
  ) throws(ImageError) -> OpenedUpper {
    var below: Image?
    var lowers: LowerLayers?
    if case .image(var config) = target, !config.lowers.isEmpty {
      config.upper = .init()
      let image = try Image.open(config: config, remote: remote)
      below = image
      lowers = image.lowerLayers(of: config, remote: remote)
    }
    do throws(UpperError) {
      let upper = try Upper.open(
        target.files, pendingFolder: pendingFolder, defaultVirtualSize: below?.virtualSize ?? 0,
        parentUUID: below?.layers.last?.record.uuid, lowers: lowers)
      return OpenedUpper(upper: upper, below: below)
    } catch {
      throw .upper(error)
    }
  }

  /// Makes all of it durable and lets go.
  func close() throws(ImageError) {
    do throws(Errno) { try upper.close() } catch {
      throw .system(call: "ending the change of", path: upper.files.data, error)
    }
  }

  /// How an upper is named.
  enum Target {
    case image(ImageConfig)
    case files(UpperFiles)

    /// The configuration at `path`, or the data file there, whose index is `index`.
    init(_ path: String, index: String?, pendingFolder: String) throws(ImageError) {
      let path = absolutePath(path)
      let blob: Blob
      do throws(BlobError) { blob = try Blob(path: path) } catch { throw .blob(error) }
      let prefix = try blob.bytes(at: 0, count: Int(min(blob.payloadSize, 512)))
      guard FileSignature.isJSON(prefix) else {
        guard let index else {
          throw .refused(
            "\(path): the index file belongs to it: name it with --index, or name the image's configuration")
        }
        self = .files(UpperFiles(data: path, index: absolutePath(index)))
        return
      }
      if index != nil {
        throw .refused("\(path): is a configuration, which names its index itself: leave --index out")
      }
      self = try .image(upperOf: path, pendingFolder: pendingFolder)
    }

    /// The configuration at `path`, which must have an upper. A snapshot of it that was begun is completed.
    static func image(upperOf path: String, pendingFolder: String) throws(ImageError) -> Target {
      _ = try SnapshotJournal.complete(path, pendingFolder: pendingFolder)
      let config = try ImageConfig.load(path)
      try config.requireSupported(upper: .readOnly(pendingFolder: ""))
      if config.upper.data == nil {
        throw .refused("\(config.name): has no `upper`: it is not writable")
      }
      return .image(config)
    }

    /// The files.
    var files: UpperFiles {
      switch self {
      case .image(let config): UpperFiles(data: config.upper.data ?? "", index: config.upper.index ?? "")
      case .files(let files): files
      }
    }
  }
}
