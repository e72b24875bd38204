import ArgumentParser
import Device

/// What a server starts for a device whose page cache is to be filled: not for users.
struct HoldDisk: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: DiskHolder.command,
    abstract: "Read a disk into its page cache and hold it open, for the server that starts this.",
    discussion: "The order comes from standard input, a socket, and what was done goes there.",
    shouldDisplay: false)

  @Argument(help: "The disk.")
  var path: String

  func run() { DiskHolder.run(path, channel: 0) }
}
