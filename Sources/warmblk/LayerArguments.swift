import ArgumentParser
import Host
import Image
import LSMT
import ZFile

/// The layer that `commit` and `merge` write.
struct LayerArguments: ParsableArguments {
  @Option(
    name: [.customShort("o"), .customLong("output")],
    help: ArgumentHelp("The layer's file to write.", valueName: "layer"))
  var output: String

  @Option(help: "How it is compressed: lz4 is fast, zstd small.")
  var compress = Import.Codec.none

  @Option(
    help: ArgumentHelp(
      "Bytes per compressed block, a power of two from 4096 to 65536: larger is smaller, and slower to read at random.",
      valueName: "bytes"))
  var blockSize = 4096

  @Flag(help: "Wrap it in a tar, as registries hold layers.")
  var tar = false

  @Option(
    help: ArgumentHelp(
      "Its identity, or `random` for a new one. Default: none, so that the same content gives the same bytes.",
      valueName: "uuid"))
  var uuid: UUIDArgument?

  @Option(
    name: [.customLong("tag"), .customLong("message")],
    help: ArgumentHelp("A note in it, at most 256 bytes.", valueName: "text"))
  var tag = ""

  @Flag(help: "Replace a file that is there already.")
  var force = false

  @Flag(
    help:
      "Also with more than 1000000 segments, which overlaybd before August 2026 opens, and neither newer ones nor Warmblk."
  )
  var allowManyEntries = false

  @Flag(help: "One object: path, digest, sizes, uuid.")
  var json = false

  func validate() throws { try Import.check(blockSize: blockSize) }

  var options: LayerOptions {
    var options = LayerOptions(output: output)
    options.compression = compress.compression
    options.blockSize = blockSize
    options.isTarWrapped = tar
    options.uuid = uuid?.value ?? .null
    options.tag = tag
    options.force = force
    options.allowsManyEntries = allowManyEntries
    return options
  }

  /// Says what was made: digest and bytes for programs, the rest for people.
  func report(_ result: LayerResult, by command: String) throws(HostError) {
    for note in result.notes { printError("warmblk \(command): \(note)") }
    if json { return try printJSON(result) }
    print("\(result.digest) \(result.size)")
  }
}

/// A UUID, or the word for a new one.
struct UUIDArgument: ExpressibleByArgument {
  let value: LayerUUID

  init?(argument: String) {
    if argument == "random" {
      value = .random()
    } else {
      guard let value = LayerUUID(argument) else { return nil }
      self.value = value
    }
  }
}
