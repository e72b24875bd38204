import ArgumentParser
import Host
import Image

struct Resize: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "resize",
    abstract: "Change the size of a writable disk.",
    discussion: """
      The disk must not be in use. Only what is on top of the image is changed: its layers stay as they are.

        warmblk resize --config work/image.json 20G

      A larger disk has room at its end that a file system uses once it is grown (resize2fs, xfs_growfs). A smaller one
      loses what is beyond its end, for good: shrink the file system first, then say --force.
      """)

  @Option(help: ArgumentHelp("The image, which has an upper.", valueName: "image.json"))
  var config: String

  @Argument(help: ArgumentHelp("Bytes of the disk: 10G, 512M.", valueName: "size"))
  var size: ByteCount

  @Flag(help: "Also make it smaller; what is beyond the new end is lost.")
  var force = false

  @Flag(help: "One object: sizes before and after, bytes lost.")
  var json = false

  @OptionGroup var remote: RemoteArguments

  @OptionGroup var common: CommonOptions

  func run() throws {
    common.installLog()
    try failing("resize") { () throws(HostError) in
      let settings = try remote.settings()
      let result = try imageResult { () throws(ImageError) in
        try Resizer.run(
          config, to: size.bytes, force: force, pendingFolder: RunDirectory.standard().path, remote: settings)
      }
      for note in result.notes { printError("warmblk resize: \(note)") }
      if json { return try printJSON(result) }
      let lost = result.lostBytes > 0 ? "; \(formatBytes(result.lostBytes)) that were beyond the new end are gone" : ""
      print("\(formatBytes(result.oldSize)) before, \(formatBytes(result.newSize)) now\(lost)")
    }
  }
}
