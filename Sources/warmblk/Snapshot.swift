import ArgumentParser
import Host
import Image

struct Snapshot: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "snapshot",
    abstract: "Make what was written to a device a layer, while it is used.",
    discussion: """
      The upper of the device becomes the topmost layer of its image, and DIR gets a new, empty one, which is written
      to from then on. Requests wait for the milliseconds that the switch takes; nobody has to unmount anything:

        warmblk snapshot -n 0 --new-upper work/2

      Prints the path of the layer, which nothing changes any more: it can be copied, shared, and be the parent of new
      disks. What was written before the snapshot is in it whole; freeze a mounted file system first (fsfreeze -f), or
      the layer is what a crash at that moment would have left. The image's configuration names the layer and the new
      upper. It takes no space but that of what is written later; what was overwritten stays in the layer's file:
      `warmblk compact` first gives that back.

      A server that dies on the way leaves image.json.snapshot: the next one that serves the image completes it.
      """)

  @Option(
    name: [.customShort("n"), .customLong("id")], help: ArgumentHelp("The number N of /dev/ublkbN.", valueName: "n"))
  var id: UInt32

  @Option(
    help: ArgumentHelp(
      "The folder of the new upper, upper.data and upper.index, append-only: a new one, or one without these.",
      valueName: "dir"))
  var newUpper: String

  @Option(help: ArgumentHelp("Seconds to wait for it: a large upper is flushed and indexed.", valueName: "seconds"))
  var timeout = 300

  @Flag(help: "One object: paths, bytes, uuid, pauses in microseconds.")
  var json = false

  @OptionGroup var common: CommonOptions

  func validate() throws {
    if newUpper.isEmpty { throw ValidationError("--new-upper needs a folder.") }
    if timeout < 1 || timeout > 86_400 { throw ValidationError("--timeout \(timeout): 1 to 86400 seconds.") }
  }

  func run() throws {
    common.installLog()
    try failing("snapshot") { () throws(HostError) in
      var folder = absolutePath(newUpper)
      while folder.count > 1, folder.hasSuffix("/") { folder.removeLast() }
      let report = try Snapshots.run(id, newUpper: folder, .standard(), timeout: timeout)
      if json { return try printJSON(report) }
      let pauses = report.pausesMicroseconds.map { "\($0 / 1000).\($0 % 1000 / 100) ms" }.joined(separator: " and ")
      printError(
        "warmblk snapshot: requests waited \(pauses); the layer has \(formatBytes(report.layerBytes)); written is now "
          + "\(report.upper)")
      print(report.layer)
    }
  }
}
