import ArgumentParser
import Host

struct Recover: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "recover",
    abstract: "Give a device whose server died a new one.",
    discussion: """
      `warmblk list` shows such a device as dead. Its disk is still there, with all that is mounted; who reads it waits.
      This starts a new server in the background, and the reads are answered as if nothing had happened:

        warmblk recover -n 0
        warmblk recover --all

      Prints the paths of the devices that answer again. With nothing to do it says so and succeeds. You need this where
      no watcher runs (`add --no-watch`), or where the watcher has given up because servers died one after the other:
      /run/warmblk/N.log says why they did.

      A device with a server that lives is refused; `warmblk upgrade` replaces that. What the device was made with is
      in /run/warmblk/N.json; the image's configuration is read again, and must be a disk of the same size. If it does
      not work the device waits as before: mend what the message names and try again, or `warmblk del -n N --force`.
      """)

  @Option(
    name: [.customShort("n"), .customLong("id")],
    help: ArgumentHelp("The number N of /dev/ublkbN.", valueName: "n"))
  var id: UInt32?

  @Flag(help: "All devices whose server is dead.")
  var all = false

  @Option(
    help: ArgumentHelp(
      "Seconds that it may take, for each device: kernels before 7.0 may need 30 to notice that a server is gone.",
      valueName: "seconds"))
  var timeout = 60

  @OptionGroup var common: CommonOptions

  func validate() throws {
    if (id == nil) == !all { throw ValidationError("Name one device with -n, or use --all.") }
    if timeout < 1 || timeout > 3600 { throw ValidationError("--timeout \(timeout): 1 to 3600 seconds.") }
  }

  func run() throws {
    common.installLog()
    try failing("recover") { () throws(HostError) in
      let directory = RunDirectory.standard()
      let recovery = Recovery(directory, timeout: timeout) { printError("warmblk recover: \($0)") }
      let ids = if let id { [id] } else { try recovery.dead() }
      if ids.isEmpty { printError("warmblk recover: nothing to do: no device has lost its server") }
      try takeOver(ids, directory, "recover") { id throws(HostError) in try recovery.recover(id) }
    }
  }
}
