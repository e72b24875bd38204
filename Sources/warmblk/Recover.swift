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

  @OptionGroup var devices: TakeOverArguments

  @OptionGroup var common: CommonOptions

  func run() throws {
    common.installLog()
    try failing("recover") { () throws(HostError) in
      try devices.run("recover") { recovery throws(HostError) in
        let dead = try recovery.dead()
        if dead.isEmpty { printError("warmblk recover: nothing to do: no device has lost its server") }
        return dead
      } _: { recovery, id throws(HostError) in
        try recovery.recover(id)
      }
    }
  }
}
