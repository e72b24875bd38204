import ArgumentParser
import Glibc
import Host

struct Serve: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "serve",
    abstract: "Make a block device of an image and serve it in the foreground.",
    discussion: """
      The same as `add`, for a supervisor or for looking at it work. Prints the device's path when it can be used,
      tells systemd (Type=notify), and serves until SIGTERM or SIGINT, which take the device away cleanly, or until
      somebody else takes it away. A second signal ends the process at once and leaves `warmblk del` something to do.

        [Service]
        Type=notify
        ExecStart=/usr/bin/warmblk serve --config /images/web/image.json --id 7 --recover
        Restart=always
        LimitNOFILE=65536
        LimitMEMLOCK=infinity

      With --recover a device N whose server is dead is taken over as it is: mounts stay, reads that waited are answered. If
      there is none it is made. So Restart=always makes a killed server a pause. What --queues, --depth, --trace, --warm and
      --record say counts only for a device that is made.

      Mounts must go first: let the mount unit be After= and Requires= this one. Messages are on standard error.
      """)

  @OptionGroup var device: DeviceArguments

  @Flag(help: "Take device --id over if its server is dead, else make it.")
  var recover = false

  @OptionGroup var common: CommonOptions

  func validate() throws {
    if recover, device.id == nil { throw ValidationError("--recover needs --id: which device may be there already?") }
  }

  func run() throws {
    common.installLog()
    try failing("serve") { () throws(HostError) in
      try Preflight.check(allowingBadKernel: device.allowBadKernel)
      var options = try device.serverOptions(timeout: 30)
      if recover { options.keeper = .supervisor }
      try ForegroundServer.run(options, recovers: recover) { id in
        print("/dev/ublkb\(id)")
        fflush(nil)
      }
    }
  }
}
