import ArgumentParser
import Host
import Image

struct Create: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "create",
    abstract: "Make a writable disk, blank or on top of an image.",
    discussion: """
      Makes DIR, or fills it if it is empty: upper.data and upper.index, which keep what is written, and image.json,
      which is the disk. The folder may be moved; the layers of the parent stay where they are.

        warmblk create --size 10G -o work
        warmblk create --parent web/image.json -o work
        warmblk create --parent web/image.json --size 20G -o work

      The first is blank; the others begin as the parent is, which nothing that is written changes. Prints the path of
      the configuration, for `warmblk add --config`. Nothing is ever replaced.
      """)

  @Option(
    help: ArgumentHelp(
      "Bytes of the disk: 10G, 512M. Default: as many as the parent's, and not fewer.", valueName: "size"))
  var size: ByteCount?

  @Option(
    name: [.customShort("o"), .customLong("output")],
    help: ArgumentHelp("The folder to make: new or empty.", valueName: "dir"))
  var directory: String

  @Option(help: ArgumentHelp("The image below the disk.", valueName: "image.json"))
  var parent: String?

  @Flag(
    help:
      "Keep each sector at its own place in a sparse file, overlaybd's other kind of upper, instead of appending what is written."
  )
  var sparse = false

  @Option(help: ArgumentHelp("The identity of what is written. Default: a new one.", valueName: "uuid"))
  var uuid: UUIDArgument?

  @Flag(help: "One object: path, size, uuid.")
  var json = false

  @OptionGroup var remote: RemoteArguments

  @OptionGroup var common: CommonOptions

  func validate() throws {
    if size == nil, parent == nil { throw ValidationError("How large? Name --size, or a --parent.") }
  }

  func run() throws {
    common.installLog()
    try failing("create") { () throws(HostError) in
      var options = CreateOptions(directory: directory, pendingFolder: RunDirectory.standard().path)
      options.size = size?.bytes
      options.parent = parent
      options.isSparse = sparse
      options.uuid = uuid?.value
      let settings = parent == nil ? nil : try remote.settings()
      let result = try imageResult { () throws(ImageError) in try UpperCreator.run(options, remote: settings) }
      for note in result.notes { printError("warmblk create: \(note)") }
      if json { return try printJSON(result) }
      print(result.configPath)
    }
  }
}
