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

  @OptionGroup var devices: TakeOverArguments

  @OptionGroup var common: CommonOptions

  func run() throws {
    common.installLog()
    try failing("upgrade") { () throws(HostError) in
      try devices.run("upgrade") { _ throws(HostError) in
        try RunDirectory.standard().ids()
      } _: { recovery, id throws(HostError) in
        try recovery.upgrade(id)
      }
    }
  }
}
