import FileSystems
import Posix

/// Reads which files an eStargz layer wants first. `contents` is the layer of another image that has the table, if
/// `layer` does not have it itself.
///
/// - Throws: `system`, `files`.
public func readStargz(layer: String, contents: String? = nil) throws(ImageError) -> StargzContents {
  let file = try openDisk(layer)
  let external = try contents.map { path throws(ImageError) in try openDisk(path) }
  do throws(FileSystemError) { return try StargzContents(layer: file, external: external) } catch {
    throw .files(name: contents ?? layer, error)
  }
}

/// A file of this machine as parsers see it.
private func openDisk(_ path: String) throws(ImageError) -> Disk {
  let file: OpenFile
  let size: UInt64
  do throws(Errno) {
    file = OpenFile(try Descriptor.open(path))
    size = UInt64(max(0, try file.descriptor.status().st_size))
  } catch {
    throw .system(call: "opening", path: path, error)
  }
  return Disk(size: size) { buffer, offset throws(FileSystemError) in
    do throws(Errno) {
      guard try file.descriptor.readFully(into: buffer, at: offset) == buffer.count else { throw .ioError }
    } catch {
      throw .read("reading \(buffer.count) bytes at \(offset): \(error)")
    }
  }
}

/// A descriptor that a closure can keep.
private final class OpenFile {
  let descriptor: Descriptor
  init(_ descriptor: consuming Descriptor) { self.descriptor = descriptor }
}
