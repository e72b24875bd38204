import ArgumentParser
import Host
import Image
import Posix

struct TraceGrade: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "grade",
    abstract: "Write what became of what a device has prefetched.",
    discussion: """
      For `trace trim`, and to see what a trace is good for: JSON, which parts of which layers were brought and not read so
      far, `wasted`, and which were waited for and not named by any trace, `untraced`, with the time of that. Ask when
      the start that the trace is for is over: what is read later is no waste.

        warmblk add --config image.json --trace web.trace --warm=wait
        warmblk trace grade -n 0 -o report1.json
        warmblk trace trim web.trace report1.json -o web2.trace

      Bytes are those of the layers' files, in chunks of 1 KiB. What came along with something that was waited for, behind
      it, is not untraced: another start with the new trace finds what is still missing.
      """)

  @Option(
    name: [.customShort("n"), .customLong("id")], help: ArgumentHelp("The number N of /dev/ublkbN.", valueName: "n"))
  var id: UInt32

  @Option(
    name: [.customShort("o"), .customLong("output")],
    help: ArgumentHelp("The report. Its folder must be there.", valueName: "file"))
  var output: String

  @Flag(help: "Replace a file that is there already.")
  var force = false

  @OptionGroup var common: CommonOptions

  func validate() throws {
    if output.isEmpty { throw ValidationError("--output needs a file.") }
  }

  func run() throws {
    common.installLog()
    try failing("trace grade") { () throws(HostError) in
      if !force, fileExists(output) {
        throw .refused("\(output) is there already: give another name, or --force to replace it")
      }
      let (wasted, untraced) = try GradeFile.write(id, absolutePath(output), .standard())
      print("\(output): \(formatBytes(wasted)) wasted, \(formatBytes(untraced)) untraced")
    }
  }
}
