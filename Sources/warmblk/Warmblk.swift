import ArgumentParser
import Glibc
import Host
import Logging

@main
struct Warmblk: ParsableCommand {
  static func main() { main(completed(CommandLine.arguments.dropFirst())) }

  // Every command says its name: left to itself the parser asks the runtime to describe types, which is two fifths
  // of what a start costs.
  static let configuration = CommandConfiguration(
    commandName: "warmblk",
    abstract: "Serve overlaybd images as block devices, /dev/ublkbN.",
    discussion: """
      A first device:

        warmblk doctor                         is this machine ready?
        warmblk import disk.raw -o image       an image from a raw disk
        warmblk add --config image/image.json  prints /dev/ublkb0
        mount -o ro /dev/ublkb0 /mnt
        warmblk list
        umount /mnt && warmblk del -n 0

      Exit codes: 0 done, 1 failed (why is on standard error), 64 the command line was wrong.
      Files: /run/warmblk has a state, a counter and a log file for each device.
      """,
    version: "0.1.0",
    subcommands: [
      Add.self, Serve.self, Del.self, List.self, Recover.self, Upgrade.self, Snapshot.self, Compact.self, Watch.self,
      Stats.self, Metrics.self,
      Inspect.self, Import.self, Export.self, Create.self, Commit.self, Seal.self, Merge.self, Resize.self,
      Cache.self, TraceCommand.self, Optimize.self, Explain.self, Doctor.self, HoldDisk.self,
    ])
}

/// Options of every command.
struct CommonOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Messages of this level and above: trace, debug, info, notice, warning, error, critical. Also WARMBLK_LOG_LEVEL.",
      valueName: "level"))
  var logLevel: Logger.Level?

  /// Before the first logger is made.
  func installLog() {
    let environment = getenv("WARMBLK_LOG_LEVEL").flatMap { Logger.Level(rawValue: String(cString: $0)) }
    LineLogHandler.install(level: logLevel ?? environment ?? .info)
  }
}

extension Logger.Level: @retroactive ExpressibleByArgument {}

/// Runs a command's body; its failure is one line on standard error and exit code 1.
func failing(_ command: String, _ body: () throws(HostError) -> Void) throws {
  do throws(HostError) {
    try body()
  } catch {
    printError("warmblk \(command): \(error)")
    throw ExitCode.failure
  }
}

/// One line on standard error.
func printError(_ text: String) {
  var line = text + "\n"
  line.withUTF8 { _ = write(2, $0.baseAddress, $0.count) }
}
