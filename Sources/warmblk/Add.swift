import ArgumentParser
import Host
import Image

struct Add: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "add",
    abstract: "Make a block device of an image.",
    discussion: """
      Starts a server in the background and returns when the device can be used. Standard output is its path and
      nothing else:

        dev=$(warmblk add --config /images/web/image.json) && mount -o ro "$dev" /mnt

      An image whose configuration has an `upper`, two files that `warmblk create` makes, is a disk that can be written:
      the layers stay as they are, what is written is in the upper. What was acknowledged survives a server that is killed,
      what was flushed a power loss; `add` the image again, and it says what it found. An upper has one user at a time. With
      --read-only it is read only.

        dev=$(warmblk add --config work/image.json) && mount "$dev" /mnt

      The server keeps the image's files open, so their file system cannot be unmounted. It writes its messages to
      /run/warmblk/N.log. `warmblk del -n N` ends it.

      If the server dies, by a signal or a defect, the disk stays and reads of it wait. A small process, `warmblk watch`,
      starts a new server at once, and nobody sees an error; --no-watch leaves that to you and `warmblk recover`.

      What can go wrong: the driver is not loaded (modprobe ublk_drv); a layer is missing or damaged (warmblk inspect
      --verify image.json); the number is taken (leave --id out). `warmblk doctor` looks at everything the machine
      needs. When `add` fails nothing is left behind, and the image's resultFile, if it names one, says why.
      """)

  @OptionGroup var device: DeviceArguments

  @Option(help: ArgumentHelp("Seconds until the attempt is given up and cleaned up.", valueName: "seconds"))
  var timeout = 30

  @Flag(help: "Start no watcher: when the device's server dies, reads wait for `warmblk recover`.")
  var noWatch = false

  @OptionGroup var common: CommonOptions

  func validate() throws {
    if timeout < 1 || timeout > 3600 { throw ValidationError("--timeout \(timeout): 1 to 3600 seconds.") }
  }

  func run() throws {
    common.installLog()
    try failing("add") { () throws(HostError) in
      try Preflight.check(allowingBadKernel: device.allowBadKernel)
      var options = try device.serverOptions(timeout: timeout)
      if !noWatch { options.keeper = .watcher }
      let server = BackgroundServer(options, timeout: timeout)
      let line = ProgressLine("warming")
      let pages = ProgressLine("filling the page cache")
      let id = try server.start { news in
        switch news {
        case .warning(let text):
          line.end()
          pages.end()
          printError("warmblk add: warning: \(text)")
        case .note(let text):
          line.end()
          pages.end()
          printError("warmblk add: note: \(text)")
        case .progress(let done, let total): line.show(Progress(done: done, total: total))
        case .filling(let done, let total):
          line.end()
          pages.show(Progress(done: done, total: total))
        case .warmed(let text):
          line.end()
          pages.end()
          printError(text)
        }
      }
      if !noWatch {
        do throws(HostError) { try Watcher.ensure(.standard()) { printError("warmblk add: note: \($0)") } } catch {
          printError("warmblk add: warning: no watcher: \(error)")
        }
      }
      print("/dev/ublkb\(id)")
    }
  }
}
