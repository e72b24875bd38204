import ArgumentParser
import Host
import Image

struct Inspect: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "inspect",
    abstract: "Say what files are, and what is wrong with them.",
    discussion: """
      Configurations, layers (raw, compressed, wrapped in tar), writable layers and traces: header fields, sizes,
      segments, holes, compression ratio, the chain of uuids. What a file is comes from its bytes, not from its name.

        warmblk inspect /images/web/image.json
        warmblk inspect --verify layer.tar
        warmblk inspect work/image.json         a writable disk: what is live, garbage, torn, or left by a killed server

      With --verify everything is read and every checksum and bound is checked; without it only the structures are.
      Each finding names the file, the offset, what was expected and what is there. A damaged layer cannot be repaired:
      fetch or build it again. Exit code 1: something is wrong with one of the files.
      """)

  @Argument(help: ArgumentHelp("Files.", valueName: "path"))
  var paths: [String]

  @Flag(help: "Read everything and check every checksum and bound.")
  var verify = false

  @Flag(help: "An array of objects, one per file; sizes and offsets are bytes.")
  var json = false

  @OptionGroup var common: CommonOptions

  func validate() throws {
    if paths.isEmpty { throw ValidationError("Name a file.") }
  }

  func run() throws {
    common.installLog()
    var inspections: [Inspection] = []
    for path in paths {
      let line = ProgressLine("verifying \(path):")
      let inspection = Inspector.inspect(path, verify: verify, pendingFolder: RunDirectory.standard().path) {
        line.show($0)
      }
      line.end()
      inspections.append(inspection)
      if !json { print("\(inspection)") }
    }
    if json { try failing("inspect") { () throws(HostError) in try printJSON(inspections) } }
    if inspections.contains(where: { !$0.findings.isEmpty }) { throw ExitCode.failure }
  }
}
