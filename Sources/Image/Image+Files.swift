import FileSystems
import Trace

/// Which parts of an image's disk shall be found by what a file system has there.
public struct ImageFiles: Sendable {
  /// Files and directories, in the order in which they are wanted.
  public var entries: [FileList.Entry]
  /// The file system's own data, before all files.
  public var withMetadata: Bool
  /// Inodes, directories and maps on the way to a file, before that file.
  public var withWalk: Bool

  /// A wish by its parts.
  public init(entries: [FileList.Entry], withMetadata: Bool = false, withWalk: Bool = true) {
    self.entries = entries
    self.withMetadata = withMetadata
    self.withWalk = withWalk
  }
}

/// Where an image's files are, without a device and without mounting it.
extension Image {
  /// The merged view as what the parsers of file systems read; one thread at a time.
  public var disk: Disk {
    let reader = SharedReader(self)
    return Disk(size: virtualSize) { buffer, offset throws(FileSystemError) in
      do throws(ImageError) { try reader.reader.read(into: buffer, at: offset) } catch { throw .read("\(error)") }
    }
  }

  /// Finds files on the disk. What cannot be found is among the resolution's problems. Reads inodes, directories and
  /// maps of blocks, from a registry too; no content.
  ///
  /// - Returns: what was found, and the file system in words.
  /// - Throws: `files` when there is no file system that can be read, or when the disk cannot be read.
  public func find(_ files: ImageFiles) throws(ImageError) -> (resolution: Resolution, fileSystem: String) {
    do throws(FileSystemError) {
      let resolver = try FileResolver(disk, withWalk: files.withWalk)
      if files.withMetadata { try resolver.addMetadata() }
      for entry in files.entries { try resolver.add(entry) }
      return (resolver.resolution, resolver.fileSystem)
    } catch {
      throw .files(name: config.name, error)
    }
  }

  /// A trace that reads what was found, in its order and all at once.
  ///
  /// - Throws: `refused` when it is more than a trace can hold.
  public func trace(of resolution: Resolution) throws(ImageError) -> MadeTrace {
    try trace(of: resolution.ranges.map { DeviceRead(microseconds: 0, range: $0) })
  }
}

/// A reader that a closure can keep.
private final class SharedReader {
  var reader: ImageReader
  init(_ image: Image) { reader = ImageReader(image) }
}
