import ArgumentParser
import Host

struct Watch: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "watch",
    abstract: "Start a new server for each device whose server dies.",
    discussion: """
      `warmblk add` starts this by itself; one process watches all devices of the machine that were added without
      --no-watch, and ends with the last of them. Started by hand, or by a supervisor, it does the same in the foreground; a
      second one ends at once.

      A new server is started as soon as one dies, later after each further death, and no more after five within a
      minute: then /run/warmblk/N.log says so, and `warmblk recover -n N` tries once more. Ending the watcher (SIGTERM)
      changes nothing for devices; the next `add`, `recover` or `upgrade` starts another one.
      """)

  @OptionGroup var common: CommonOptions

  func run() throws {
    common.installLog()
    try failing("watch") { () throws(HostError) in try Watcher.run(.standard()) }
  }
}
