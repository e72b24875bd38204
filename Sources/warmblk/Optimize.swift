import ArgumentParser
import Device
import Host
import Image
import Posix

struct Optimize: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "optimize",
    abstract: "Run a command on a throw-away device of an image, and keep a trace of what it reads.",
    discussion: """
      Makes a device, runs the command, takes the device away, and writes what was read, in order, for `add --trace`:

        warmblk optimize --config image.json -o web.trace --mount /mnt --until-idle 2s -- chroot /mnt /usr/bin/web
        warmblk add --config image.json --trace web.trace --warm

      With --mount the command, and nothing else on this machine, sees the disk mounted there, read-only. Without it the
      command reads the disk itself; its path is in WARMBLK_DEVICE, in either case:

        warmblk optimize --config vm.json -o vm.trace -- sh -c 'exec boot-vm --disk "$WARMBLK_DEVICE"'

      The trace ends when the command does, with --until-idle, after --for, or with Ctrl-C; a command that still runs gets
      SIGTERM, and SIGKILL 5 s later, and so does what it has left in its process group. Its standard input is yours, or
      nothing if that is a terminal. What the cache of remote layers has makes no difference to the trace.

      --acceleration-layer DIR writes overlaybd's form: DIR/config.v1.json, the image with the trace attached, which `add`
      and overlaybd replay without another word; DIR/trace; and DIR/layer.tar, the layer to push on top of the image.

      The last line on standard error says what was read, and how the command ended. Exit code: the command's if it failed
      by itself (128 and the signal's number for a signal), and the trace is written all the same; 130 after Ctrl-C, 143
      after SIGTERM; 1 if there is no trace: the command could not be started, or nothing was read.
      """)

  @Option(help: ArgumentHelp("The image: an overlaybd configuration, config.v1.json.", valueName: "image.json"))
  var config: String

  @Option(
    name: [.customShort("o"), .customLong("output")],
    help: ArgumentHelp("The trace. Its folder must be there.", valueName: "file"))
  var output: String?

  @Option(
    help: ArgumentHelp(
      "Write overlaybd's form to this folder, instead of -o or beside it; made when missing.", valueName: "dir"))
  var accelerationLayer: String?

  @Option(help: ArgumentHelp("Mount the disk there, for the command only. The folder must be there.", valueName: "dir"))
  var mount: String?

  @Option(
    help: ArgumentHelp(
      "With --mount: the file system, as mount -t has it. Default: ext4, erofs or xfs, whichever it is.",
      valueName: "type"))
  var type: String?

  @Option(
    help: ArgumentHelp(
      "End when nothing was read for the first time for so long since the command was started: 2s, 500ms.",
      valueName: "time"))
  var untilIdle: Duration?

  @Option(name: .customLong("for"), help: ArgumentHelp("End after this time. Default: 1h.", valueName: "time"))
  var duration: Duration?

  @Flag(help: "Replace a trace and a layer that are there already.")
  var force = false

  @Option(help: ArgumentHelp("Seconds that making the device may take, and taking it away.", valueName: "seconds"))
  var timeout = 30

  @Flag(help: "Also on kernels whose ublk driver is known to crash (see `warmblk doctor`).")
  var allowBadKernel = false

  @OptionGroup var remote: RemoteArguments

  @OptionGroup var common: CommonOptions

  @Argument(help: ArgumentHelp("What to run, and its arguments, behind --.", valueName: "command"))
  var command: [String]

  func validate() throws {
    if output == nil, accelerationLayer == nil {
      throw ValidationError("Where should the trace go? Name a file with -o, or a folder with --acceleration-layer.")
    }
    for (option, value) in [("-o", output), ("--acceleration-layer", accelerationLayer), ("--mount", mount)] {
      if value == "" { throw ValidationError("\(option) needs a path.") }
    }
    if command.first?.isEmpty ?? true { throw ValidationError("What should be run? Name a command behind --.") }
    if type != nil, mount == nil { throw ValidationError("--type is for --mount.") }
    if timeout < 1 || timeout > 3600 { throw ValidationError("--timeout \(timeout): 1 to 3600 seconds.") }
  }

  func run() throws {
    common.installLog()
    var code: Int32 = 0
    try failing("optimize") { () throws(HostError) in code = try optimize() }
    if code != 0 { throw ExitCode(code) }
  }

  /// The exit code.
  private func optimize() throws(HostError) -> Int32 {
    try Preflight.check(allowingBadKernel: allowBadKernel)
    let image = try imageResult { () throws(ImageError) in try ImageConfig.load(config) }
    let results = OptimizeResults(
      config: image, output: output, layer: accelerationLayer.map { AccelerationLayer(folder: $0) }, force: force)
    try results.prepare()
    defer { results.cleanUp() }
    let settings = try remote.settings()
    var server = ServerOptions(
      config: image.forTrial, device: DeviceOptions(timeout: timeout), directory: .standard(), remote: settings)
    server.recordPath = results.recordingPath
    server.warm.mode = .off
    let workload = WorkloadOptions(
      command: command, mountPoint: mount.map { absolutePath($0) }, fileSystem: type)
    let options = Trial.Options(
      server: server, workload: workload, durationMax: duration?.milliseconds ?? 3_600_000,
      idleMax: untilIdle?.milliseconds, timeout: timeout)
    let outcome = try Trial(options) { printError("warmblk optimize: \($0)") }.run()
    guard let report = outcome.report, let status = outcome.status else {
      printError("warmblk optimize: cancelled before \(command[0]) was started; nothing is left behind")
      return Self.code(of: outcome)
    }
    let names = try results.publish(settings)
    let reason = outcome.end == .recording ? report.reason.words : outcome.end.words
    let end = reason.map { " after \($0)" } ?? ""
    printError(
      "\(names): \(formatCount(report.accesses, "access", "accesses")), \(formatBytes(report.bytes)) of the disk, "
        + "\(formatTime(outcome.milliseconds * 1_000_000)), \(report.lost) lost; the command \(status)\(end)")
    return Self.code(of: outcome)
  }

  /// One that was ended because the recording was over has not failed.
  private static func code(of outcome: Trial.Outcome) -> Int32 {
    switch outcome.end {
    case .signal(let number): 128 + number
    case .exit: outcome.status?.exitCode ?? 1
    case .time, .idle, .recording: outcome.status == .stuck ? 1 : 0
    }
  }
}
