import ArgumentParser
import Host

/// Which devices get a new server.
struct TakeOverArguments: ParsableArguments {
  @Option(
    name: [.customShort("n"), .customLong("id")],
    help: ArgumentHelp("The number N of /dev/ublkbN.", valueName: "n"))
  var id: UInt32?

  @Flag(help: "All devices that it can be done with, one after the other.")
  var all = false

  @Option(
    help: ArgumentHelp(
      "Seconds that it may take, for each device: kernels before 7.0 may need 30 to notice that a server is gone.",
      valueName: "seconds"))
  var timeout = 60

  func validate() throws {
    if (id == nil) == !all { throw ValidationError("Name one device with -n, or use --all.") }
    if timeout < 1 || timeout > 3600 { throw ValidationError("--timeout \(timeout): 1 to 3600 seconds.") }
  }

  /// Gives a new server, as `body` does it, to the device that is named or to those that `all` finds, and prints the paths of those
  /// that have one. One that cannot get one does not keep the others from it. `command` is for messages.
  func run(
    _ command: String, all: (Recovery) throws(HostError) -> [UInt32],
    _ body: (Recovery, UInt32) throws(HostError) -> Void
  ) throws(HostError) {
    let directory = RunDirectory.standard()
    let recovery = Recovery(directory, timeout: timeout) { printError("warmblk \(command): \($0)") }
    var failures: [HostError] = []
    let ids = if let id { [id] } else { try all(recovery) }
    for id in ids {
      do throws(HostError) {
        try body(recovery, id)
        print("/dev/ublkb\(id)")
      } catch {
        failures.append(error)
      }
    }
    keepWatch(directory, command)
    for failure in failures.dropLast() { printError("warmblk \(command): \(failure)") }
    if let last = failures.last { throw last }
  }
}

/// Devices that want a watcher have one, also after it was ended.
private func keepWatch(_ directory: RunDirectory, _ command: String) {
  do throws(HostError) {
    try Watcher.ensureIfWanted(directory) { printError("warmblk \(command): note: \($0)") }
  } catch {
    printError("warmblk \(command): warning: no watcher: \(error)")
  }
}
