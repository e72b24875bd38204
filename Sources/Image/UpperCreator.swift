import Glibc
import LSMT
import Posix
import UpperLayer

/// What writable disk to make.
public struct CreateOptions: Sendable {
  /// The folder that gets it: new or empty.
  public var directory: String
  /// Bytes of the disk; nil for as many as the parent's.
  public var size: UInt64?
  /// The configuration of the image below it; nil for a blank disk.
  public var parent: String?
  /// Whether the upper is sparse, not append-only.
  public var isSparse = false
  /// The upper's identity; nil for a random one.
  public var uuid: LayerUUID?
  /// Where writes that no flush has covered are kept, as for ``UpperUse``.
  public var pendingFolder: String

  /// A blank, append-only disk in `directory`, once it has a size.
  public init(directory: String, pendingFolder: String) {
    self.directory = directory
    self.pendingFolder = pendingFolder
  }
}

/// A writable disk that was made.
public struct CreateResult: Equatable, Sendable, Encodable {
  /// Its configuration, absolute.
  public let configPath: String
  /// Bytes of the disk.
  public let virtualSize: UInt64
  /// The upper's identity.
  public let uuid: String
  /// What the caller should know, a sentence each.
  public let notes: [String]
}

/// Makes a writable disk: the files of an empty upper, and a configuration of it and what is below. The upper is named by
/// its place in the folder, so that the folder can be moved; the layers below by where they are.
public struct UpperCreator {
  /// What the files are called.
  static let dataName = "upper.data"
  static let indexName = "upper.index"

  /// Makes it. `remote` as for ``Image/open(config:remote:virtualSize:upper:)``. What fails leaves nothing behind, and
  /// nothing is replaced.
  public static func run(
    _ options: CreateOptions, remote: RemoteSettings? = nil
  ) throws(ImageError) -> CreateResult {
    let directory = absolutePath(options.directory)
    let below = try Below(options.parent, remote)
    let size = try size(options, below)
    var config = below.config
    config.upper = .init(index: indexName, data: dataName)
    let bytes = try config.encoded()
    let isNew = try makeFolder(directory)
    let uuid = options.uuid ?? .random()
    let files = UpperFiles(
      data: absolutePath(dataName, in: directory), index: absolutePath(indexName, in: directory))
    do throws(ImageError) {
      try makeFiles(files, options, uuid: uuid, size: size, below, remote)
      let path = absolutePath(ImportOptions.configName, in: directory)
      do throws(Errno) { try writeFileAtomically(path, bytes, durable: true) } catch {
        _ = unlink(files.data)
        _ = unlink(files.index)
        throw .system(call: "writing the image configuration", path: path, error)
      }
      return CreateResult(
        configPath: path, virtualSize: size, uuid: uuid.description, notes: notes(size, below))
    } catch {
      if isNew { _ = rmdir(directory) }
      throw error
    }
  }

  private static func makeFiles(
    _ files: UpperFiles, _ options: CreateOptions, uuid: LayerUUID, size: UInt64, _ below: Below,
    _ remote: RemoteSettings?
  ) throws(ImageError) {
    let ghosts = try below.config.ghosts(in: (below.size ?? size)..<size, remote: remote)
    do throws(UpperError) {
      try UpperFiles.create(
        data: files.data, index: files.index, kind: options.isSparse ? .sparse : .append,
        virtualSize: size,
        uuid: uuid, parentUUID: below.uuid)
    } catch {
      throw .upper(error)
    }
    if ghosts.isEmpty { return }
    do throws(ImageError) {
      let upper: Upper
      do throws(UpperError) {
        upper = try Upper.open(
          files, pendingFolder: options.pendingFolder, defaultVirtualSize: size,
          lowers: below.image?.lowerLayers(of: below.config, remote: remote))
      } catch {
        throw .upper(error)
      }
      try upper.hide(ghosts)
      do throws(Errno) { try upper.close() } catch { throw .system(call: "ending", path: files.data, error) }
    } catch {
      _ = unlink(files.data)
      _ = unlink(files.index)
      throw error
    }
  }

  /// What the new disk lies on.
  private struct Below {
    var config = ImageConfig(lowers: [])
    /// Nil for a blank disk.
    var image: Image?
    /// Of the disk, bytes; nil without an image.
    var size: UInt64?
    /// Of the topmost layer.
    var uuid = LayerUUID.null

    init(_ path: String?, _ remote: RemoteSettings?) throws(ImageError) {
      guard let path else { return }
      config = try ImageConfig.load(path)
      if config.upper.data != nil {
        throw .refused(
          "\(config.name): is a writable disk itself, and would change below the new one: make its upper a layer with "
            + "`warmblk seal`, or commit it")
      }
      let image = try Image.open(config: config, remote: remote)
      self.image = image
      size = image.virtualSize
      uuid = image.layers.last?.record.uuid ?? .null
      // That one is told of the parent's devices.
      config.resultFile = nil
    }
  }

  private static func size(_ options: CreateOptions, _ below: Below) throws(ImageError) -> UInt64 {
    guard let size = options.size ?? below.size.map({ ($0 + 511) / 512 * 512 }) else {
      throw .refused("a blank disk has no size of its own: say it with --size, or name a --parent")
    }
    if let least = below.size, size < least {
      throw .refused(
        "\(size) bytes are less than the \(least) of \(below.config.name): what is beyond them would be lost; leave the "
          + "size out, or make it larger")
    }
    guard size > 0, size % UInt64(sectorSize) == 0, size <= SegmentMap.maxVirtualSize else {
      throw .refused(
        "a disk of \(size) bytes: a disk has a multiple of \(sectorSize) bytes, from \(sectorSize) to "
          + "\(SegmentMap.maxVirtualSize)")
    }
    return size
  }

  /// Whether the folder had to be made. One that has anything in it is refused.
  private static func makeFolder(_ path: String) throws(ImageError) -> Bool {
    let isNew = !fileExists(path)
    let names: [String]
    do throws(Errno) {
      if isNew { try makeDirectories(path) }
      names = try listDirectory(path)
    } catch {
      throw .system(call: "making the folder", path: path, error)
    }
    guard names.isEmpty else {
      throw .refused("\(path): has something in it; a new disk wants a folder that is new or empty")
    }
    return isNew
  }

  private static func notes(_ size: UInt64, _ below: Below) -> [String] {
    guard let old = below.size, size > old else { return [] }
    return ["the disk has \(size - old) bytes more than the parent's: its file system has to be grown to use them"]
  }
}
