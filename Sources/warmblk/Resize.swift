import ArgumentParser
import Host
import Image

struct Resize: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "resize",
    abstract: "Change the size of a writable disk.",
    discussion: """
      By its number a device's disk grows while it is used, on kernels that can do that (6.16; `warmblk doctor
      --features`). By its configuration a disk that is not in use becomes larger or smaller, on any machine. Only the
      upper is changed: the layers below stay as they are.

        warmblk resize -n 0 20G
        warmblk resize --config work/image.json 20G

      A larger disk has room at its end that a file system uses once it is grown (resize2fs, xfs_growfs). A smaller one
      loses what is beyond its end, for good: shrink the file system first, then say --force.
      """)

  @Option(help: ArgumentHelp("The image, which has an upper that is not in use.", valueName: "image.json"))
  var config: String?

  @Option(
    name: [.customShort("n"), .customLong("id")], help: ArgumentHelp("The number N of /dev/ublkbN.", valueName: "n"))
  var id: UInt32?

  @Argument(help: ArgumentHelp("Bytes of the disk: 10G, 512M.", valueName: "size"))
  var size: ByteCount

  @Flag(help: "Also make it smaller; what is beyond the new end is lost.")
  var force = false

  @Flag(help: "One object: sizes before and after, bytes lost.")
  var json = false

  @OptionGroup var remote: RemoteArguments

  @OptionGroup var common: CommonOptions

  func validate() throws {
    if (config == nil) == (id == nil) { throw ValidationError("Name a device with -n, or a --config.") }
    if force, id != nil { throw ValidationError("--force: a device's disk only grows; it goes with --config.") }
  }

  func run() throws {
    common.installLog()
    try failing("resize") { () throws(HostError) in
      let settings = try remote.settings()
      guard let config else { return try grow(settings) }
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

  private func grow(_ settings: RemoteSettings) throws(HostError) {
    guard let id else { return }
    let old = try Growing.run(id, to: size.bytes, remote: settings, .standard())
    printError("warmblk resize: the file system on the disk has to be grown to use what was added")
    if json { return try printJSON(ResizeResult(oldSize: old, newSize: size.bytes)) }
    print("\(formatBytes(old)) before, \(formatBytes(size.bytes)) now")
  }
}
