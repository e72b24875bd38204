@testable import FileSystems
import Posix
import Testing
import TestSupport
import Trace

@testable import Image

@Suite struct FilesTests {
  /// An image of two layers: an ext4 of some files, and the same with one more.
  private func image(_ scratch: Scratch) throws -> Image {
    let script = """
      set -eu
      mkdir -p \(scratch("tree"))/d; cd \(scratch("tree")); seq 30000 >numbers; seq 400 >d/few; ln -s d/few link
      truncate -s 16M \(scratch("raw")); mke2fs -q -F -t ext4 -b 4096 -d . \(scratch("raw")) >/dev/null
      cp \(scratch("raw")) \(scratch("raw2")); seq 7000 20000 >more
      debugfs -w -R "write more more" \(scratch("raw2")) 2>/dev/null >/dev/null
      """
    try runProgram(["bash", "-c", script])
    var options = ImportOptions(source: scratch("raw"), directory: scratch("1"))
    options.compression = .lz4
    let base = try Importer.run(options).configPath
    options = ImportOptions(source: scratch("raw2"), directory: scratch("2"))
    options.parent = base
    return try Image.open(configPath: try Importer.run(options).configPath)
  }

  private func files(_ paths: [String], metadata: Bool = false, walk: Bool = true) -> ImageFiles {
    ImageFiles(
      entries: paths.map { FileList.Entry(path: Array($0.utf8)) }, withMetadata: metadata, withWalk: walk)
  }

  @Test("files become pieces of layers that have their content, in the order of the list")
  func content() throws {
    let scratch = try Scratch()
    let image = try image(scratch)
    for (path, name, layers) in [("/numbers", "numbers", [0]), ("/more", "more", [1]), ("/link", "d/few", [0])] {
      let (found, fileSystem) = try image.find(files([path], walk: false))
      #expect(found.problemCount == 0 && found.files == 1 && fileSystem == "ext4 with blocks of 4096 bytes")
      let made = try image.trace(of: found)
      #expect(made.notes.isEmpty && Set(made.trace.accesses.compactMap(\.layer)) == Set(layers))
      var reader = ImageReader(image)
      var content: [UInt8] = []
      for access in made.trace.accesses {
        var bytes = [UInt8](repeating: 0, count: access.device.count)
        try bytes.withUnsafeMutableBytes { try reader.read(into: $0, at: access.device.lowerBound) }
        content += bytes
      }
      let source = try readFile(scratch("tree/\(name)"))
      let isSame = Array(content.prefix(source.count)) == source
      #expect(isSame && content.count - source.count < 4096, "\(path)")
    }
    // The list's order, not the disk's, on which the second file follows the first.
    let both = try image.find(files(["/more", "/numbers"], walk: false)).resolution.ranges
    let second = try image.find(files(["/numbers"], walk: false)).resolution.ranges
    #expect(both.count == 2 && both.last == second.last)
  }

  @Test("what is read to find a file comes before it, and is enough to find it")
  func walk() throws {
    let scratch = try Scratch()
    let image = try image(scratch)
    let (found, _) = try image.find(files(["/d/few"]))
    let taken = found.ranges
    let content = try image.find(files(["/d/few"], walk: false)).resolution.ranges
    #expect(found.metadataBytes > 0 && taken.last?.upperBound == content.last?.upperBound)
    // A disk that has nothing but these ranges.
    let reader = image.disk
    let sparse = Disk(size: reader.size) { buffer, offset throws(FileSystemError) in
      var bytes = [UInt8](repeating: 0, count: buffer.count)
      for range in taken where range.upperBound > offset && range.lowerBound < offset + UInt64(buffer.count) {
        let part = max(range.lowerBound, offset)..<min(range.upperBound, offset + UInt64(buffer.count))
        bytes.replaceSubrange(
          Int(part.lowerBound - offset)..<Int(part.upperBound - offset),
          with: try reader.bytes(at: part.lowerBound, count: part.count))
      }
      buffer.copyBytes(from: bytes)
    }
    let resolver = try FileResolver(sparse)
    try resolver.add(FileList.Entry(path: Array("/d/few".utf8)))
    #expect(resolver.resolution.problemCount == 0 && resolver.resolution.ranges == taken)
  }

  @Test("an image without a file system that can be read is refused by its name")
  func refused() throws {
    let scratch = try Scratch()
    let raw = try scratch.write("raw", [UInt8](repeating: 1, count: 40960))
    let config = try Importer.run(ImportOptions(source: raw, directory: scratch("image"))).configPath
    let image = try Image.open(configPath: config)
    #expect(throws: ImageError.files(name: config, .noFileSystem(found: nil))) { try image.find(files(["/"])) }
  }
}
