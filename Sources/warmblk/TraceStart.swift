import ArgumentParser
import Host
import Image

struct TraceStart: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "start",
    abstract: "Record what is read of a device.",
    discussion: """
      Returns at once; the device's server records until something ends it: `trace stop`, one of the limits below, or the
      end of the device. Then the trace is there, whole; before that there is no file, and a trace that has the name stays.
      Only the first read of each 4 KiB is recorded, so that a device may be recorded for as long as it lives. What the
      kernel has in its page cache it does not read again: record a device that is not mounted yet.

        warmblk trace start -n 0 -o web.trace --until-idle 5s
        warmblk trace stop -n 0

      `warmblk list --json` shows how far it is. The folder of the trace cannot be unmounted meanwhile. To record from the
      very first read on, use `warmblk add --record`.
      """)

  @Option(
    name: [.customShort("n"), .customLong("id")], help: ArgumentHelp("The number N of /dev/ublkbN.", valueName: "n"))
  var id: UInt32

  @Option(
    name: [.customShort("o"), .customLong("output")],
    help: ArgumentHelp("The trace. Its folder must be there; a file that has the name is replaced.", valueName: "file"))
  var output: String

  @Option(name: .customLong("for"), help: ArgumentHelp("End after this time: 90s, 10m, 500ms.", valueName: "time"))
  var duration: Duration?

  @Option(
    help: ArgumentHelp(
      "End when nothing was read for the first time for so long, once anything was.", valueName: "time"))
  var untilIdle: Duration?

  @Option(
    help: ArgumentHelp(
      "End before the trace has more bytes than this: 64K to 1G. Default: 64M, about five million reads.",
      valueName: "size"))
  var maxBytes: ByteCount?

  @OptionGroup var common: CommonOptions

  func run() throws {
    common.installLog()
    try failing("trace start") { () throws(HostError) in
      let plan = RecordingPlan(
        path: absolutePath(output), durationMax: duration?.milliseconds, idleMax: untilIdle?.milliseconds,
        bytesMax: maxBytes?.bytes ?? RecordingPlan.bytesMaxDefault)
      try Recording.start(id, plan, .standard())
    }
  }

  func validate() throws {
    if output.isEmpty { throw ValidationError("--output needs a file.") }
    if let maxBytes, !(RecordingPlan.bytesMin...1 << 30).contains(maxBytes.bytes) {
      throw ValidationError("--max-bytes: 64K to 1G.")
    }
  }
}
