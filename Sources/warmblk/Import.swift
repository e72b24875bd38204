import ArgumentParser
import Host
import Image
import ZFile

struct Import: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "import",
    abstract: "Make a layer and an image of a raw disk image.",
    discussion: """
      Writes DIR/overlaybd.commit, a sealed layer, and DIR/image.json, an image with that layer on top. Zeroes are not
      stored; memory does not grow with the disk.

        warmblk import disk.raw -o v1 --compress zstd
        warmblk import changed.raw -o v2 --parent v1/image.json    only what differs is stored
        zcat disk.raw.gz | warmblk import - -o v1

      Prints the path of the image. Files that are there already are kept unless --force replaces them, and an import
      that fails leaves none behind. A file system must not be mounted for writing while it is read. Raw data smaller
      than its parent's disk makes a smaller disk.
      """)

  enum Codec: String, ExpressibleByArgument, CaseIterable {
    case none, lz4, zstd

    var compression: Compression? {
      switch self {
      case .none: nil
      case .lz4: .lz4
      case .zstd: .zstd
      }
    }
  }

  @Argument(
    help: ArgumentHelp("A raw disk image: a file, a block device, or - for standard input.", valueName: "raw")
  )
  var source: String

  @Option(
    name: [.customShort("o"), .customLong("output")],
    help: ArgumentHelp("The folder to write to; made when missing.", valueName: "dir"))
  var directory = "."

  @Option(help: "How the layer is compressed: lz4 is fast, zstd small.")
  var compress = Codec.none

  @Option(
    help: ArgumentHelp(
      "Bytes per compressed block, a power of two from 4096 to 65536: larger is smaller, and slower to read at random.",
      valueName: "bytes"))
  var blockSize = 4096

  @Option(help: ArgumentHelp("An image; only what differs from it is stored.", valueName: "image.json"))
  var parent: String?

  @Flag(help: "Wrap the layer in a tar, as registries hold layers.")
  var tar = false

  @Option(help: ArgumentHelp("A note in the layer, at most 256 bytes.", valueName: "text"))
  var message = ""

  @Flag(help: "Replace a layer and an image that are there already.")
  var force = false

  @Flag(help: "One object: paths, digest, sizes, uuid.")
  var json = false

  @OptionGroup var common: CommonOptions

  func validate() throws { try Self.check(blockSize: blockSize) }

  static func check(blockSize: Int) throws {
    if !(4096...65536).contains(blockSize) || blockSize & (blockSize - 1) != 0 {
      throw ValidationError("--block-size \(blockSize): a power of two from 4096 to 65536.")
    }
  }

  func run() throws {
    common.installLog()
    var options = ImportOptions(source: source, directory: directory)
    options.compression = compress.compression
    options.blockSize = blockSize
    options.parent = parent
    options.isTarWrapped = tar
    options.message = message
    options.force = force
    let line = ProgressLine("importing")
    try failing("import") { () throws(HostError) in
      let result: ImportResult
      defer { line.end() }
      do throws(ImageError) {
        result = try Importer.run(options) { line.show($0) }
      } catch {
        throw .image(error)
      }
      line.end()
      for note in result.notes { printError("warmblk import: \(note)") }
      if json { return try printJSON(result) }
      print(result.configPath)
    }
  }
}
