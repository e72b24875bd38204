import ArgumentParser
import Host

struct Upgrade: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "upgrade",
    abstract: "Hand a live device to a new server of this program.",
    discussion: """
      After an installation servers still run the program that they were started with. This replaces one, while its disk is
      mounted and read:

        warmblk upgrade -n 0
        warmblk upgrade --all

      The new server opens the image first; only if that works the old one is asked to leave. It answers what it has, and
      requests that come meanwhile wait for the new one, some milliseconds. None fails and none is lost. Prints the path of
      each device once its new server answers.

      A server under a supervisor (`serve --recover`) is told to end, and the supervisor has to start the next one:
      Restart=always. If a new server cannot be started the device waits: `warmblk recover -n N`, also with the old program.
      Prefetch ends with the old server. A page cache that was held (--warm-into page-cache) is held again, but the kernel
      drops it in between where nobody else has the disk open, mounted for example.
      """)

  @Option(
    name: [.customShort("n"), .customLong("id")],
    help: ArgumentHelp("The number N of /dev/ublkbN.", valueName: "n"))
  var id: UInt32?

  @Flag(help: "All devices that warmblk made, one after the other.")
  var all = false

  @Option(help: ArgumentHelp("Seconds that it may take, for each device.", valueName: "seconds"))
  var timeout = 60

  @OptionGroup var common: CommonOptions

  func validate() throws {
    if (id == nil) == !all { throw ValidationError("Name one device with -n, or use --all.") }
    if timeout < 1 || timeout > 3600 { throw ValidationError("--timeout \(timeout): 1 to 3600 seconds.") }
  }

  func run() throws {
    common.installLog()
    try failing("upgrade") { () throws(HostError) in
      let directory = RunDirectory.standard()
      let upgrade = Recovery(directory, timeout: timeout) { printError("warmblk upgrade: \($0)") }
      let ids = if let id { [id] } else { try directory.ids() }
      try takeOver(ids, directory, "upgrade") { id throws(HostError) in try upgrade.upgrade(id) }
    }
  }
}
