import ArgumentParser
import Host
import Image

struct Commit: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "commit",
    abstract: "Make a layer of what was written to a disk.",
    discussion: """
      Writes a new, compact layer of an upper: what was overwritten is left out, blocks of zeroes are not stored. The
      upper stays as it is. UPPER is the configuration of an image with an upper, an upper's data file (then --index
      names the other one), or a layer that is sealed already, to compress it.

        warmblk commit work/image.json -o layer --compress zstd
        warmblk commit upper.data --index upper.index -o layer --tag "with updates"
        warmblk commit sealed.layer -o layer --compress lz4

      Prints the layer's digest and its bytes. The disk must not be in use: take its device away first, or nothing is
      done. An upper of a server that was killed is refused while writes of it are kept elsewhere. The same upper
      always gives the same bytes.
      """)

  @Argument(help: ArgumentHelp("image.json, an upper's data file, or a sealed layer.", valueName: "upper"))
  var source: String

  @Option(help: ArgumentHelp("The index file of an upper that is named by its data file.", valueName: "file"))
  var index: String?

  @Option(
    help: ArgumentHelp("The identity of the layer below. Default: what the upper says.", valueName: "uuid"))
  var parentUUID: UUIDArgument?

  @OptionGroup var layer: LayerArguments

  @OptionGroup var common: CommonOptions

  func run() throws {
    common.installLog()
    let line = ProgressLine("committing")
    try failing("commit") { () throws(HostError) in
      var options = layer.options
      options.parentUUID = parentUUID?.value
      defer { line.end() }
      let result = try imageResult { () throws(ImageError) in
        try Committer.run(source, index: index, pendingFolder: RunDirectory.standard().path, to: options) {
          line.show($0)
        }
      }
      line.end()
      try layer.report(result, by: "commit")
    }
  }
}
