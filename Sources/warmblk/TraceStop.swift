import ArgumentParser
import Host

struct TraceStop: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "stop",
    abstract: "End a recording and wait until its trace is written.",
    discussion: """
      Prints one line: the trace, accesses, how much of the disk they are, for how long was recorded, how many reads were
      lost because they came faster than they could be written down, and why it ended. A recording that has ended by
      itself meanwhile is told of once.

        warmblk trace stop -n 0
      """)

  @Option(
    name: [.customShort("n"), .customLong("id")], help: ArgumentHelp("The number N of /dev/ublkbN.", valueName: "n"))
  var id: UInt32

  @Option(help: ArgumentHelp("Seconds to wait for it.", valueName: "seconds"))
  var timeout = 60

  @Flag(help: "An object; bytes, and milliseconds.")
  var json = false

  @OptionGroup var common: CommonOptions

  func validate() throws {
    if timeout < 1 || timeout > 3600 { throw ValidationError("--timeout \(timeout): 1 to 3600 seconds.") }
  }

  func run() throws {
    common.installLog()
    try failing("trace stop") { () throws(HostError) in
      let report = try Recording.stop(id, .standard(), timeout: timeout)
      if json { try printJSON(report) } else { print(report.line) }
    }
  }
}
