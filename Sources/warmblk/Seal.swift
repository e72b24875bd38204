import ArgumentParser
import Host
import Image

struct Seal: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "seal",
    abstract: "Make what was written to a disk a layer, where it is.",
    discussion: """
      The upper's data file becomes a layer, at once and without a copy, and image.json names it as the topmost of its
      layers, so that it can be served, shared, and be the parent of new disks:

        warmblk seal work/image.json
        warmblk create --parent work/image.json -o next

      It cannot be written any more. What was overwritten stays in the file: `warmblk commit` makes a compact layer
      instead, and leaves the disk writable. The disk must not be in use. A seal that was cut short can be repeated.
      """)

  @Argument(help: ArgumentHelp("image.json, or an upper's data file.", valueName: "upper"))
  var source: String

  @Option(help: ArgumentHelp("The index file of an upper that is named by its data file.", valueName: "file"))
  var index: String?

  @Flag(help: "One object: paths, size, uuid.")
  var json = false

  @OptionGroup var remote: RemoteArguments

  @OptionGroup var common: CommonOptions

  func run() throws {
    common.installLog()
    try failing("seal") { () throws(HostError) in
      let settings = try remote.settings()
      let result = try imageResult { () throws(ImageError) in
        try Sealer.run(source, index: index, pendingFolder: RunDirectory.standard().path, remote: settings)
      }
      for note in result.notes { printError("warmblk seal: \(note)") }
      if json { return try printJSON(result) }
      print(result.configPath ?? result.layerPath)
    }
  }
}
