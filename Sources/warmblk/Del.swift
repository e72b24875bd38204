import ArgumentParser
import Host

struct Del: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "del",
    abstract: "Take a device away.",
    discussion: """
      Returns when the disk, its server and its state files are gone. A device that is mounted, swap, part of another
      device or just open is refused, and the message names who holds it:

        warmblk del -n 0
        warmblk del --all

      A server that is dead leaves a device behind that `list` shows as dead: the same command removes it, and reads that
      wait get an error. A server that does not end within half of --timeout is killed; one that stores what was written to a
      writable disk has until a second before its end. Nothing is lost if it is killed then, as long as the machine runs: `add` the
      image again. With --force a device goes away under its users: their reads fail, a mounted file system stays mounted and
      fails too until it is unmounted.
      """)

  @Option(
    name: [.customShort("n"), .customLong("id")],
    help: ArgumentHelp("The number N of /dev/ublkbN.", valueName: "n"))
  var id: UInt32?

  @Flag(help: "All devices that warmblk made.")
  var all = false

  @Flag(help: "Also when it is mounted or open.")
  var force = false

  @Flag(help: "Also when warmblk has no record of having made it. Never with --all.")
  var foreign = false

  @Option(help: ArgumentHelp("Seconds that it may take, for each device.", valueName: "seconds"))
  var timeout = 20

  @OptionGroup var common: CommonOptions

  func validate() throws {
    if (id == nil) == !all { throw ValidationError("Name one device with -n, or use --all.") }
    if all, foreign {
      throw ValidationError("--foreign needs -n: other programs' devices are deleted one by one.")
    }
    if timeout < 1 || timeout > 3600 { throw ValidationError("--timeout \(timeout): 1 to 3600 seconds.") }
  }

  func run() throws {
    common.installLog()
    try failing("del") { () throws(HostError) in
      let directory = RunDirectory.standard()
      let ids = if let id { [id] } else { try directory.ids() }
      let options = Removal.Options(isForced: force, includesForeign: foreign, timeout: timeout)
      var failures: [HostError] = []
      for id in ids {
        let removal = Removal(id, directory, options) { printError("warmblk del: \($0)") }
        do throws(HostError) { try removal.run() } catch { failures.append(error) }
      }
      for failure in failures.dropLast() { printError("warmblk del: \(failure)") }
      if let last = failures.last { throw last }
    }
  }
}
