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
        ExecStart=/usr/bin/warmblk serve --config /images/web/image.json --id 7
        LimitNOFILE=65536
        LimitMEMLOCK=infinity

      Mounts must go first: let the mount unit be After= and Requires= this one. Messages are on standard error.
      """)

  @OptionGroup var device: DeviceArguments

  @OptionGroup var common: CommonOptions

  func run() throws {
    common.installLog()
    try failing("serve") { () throws(HostError) in
      try Preflight.check(allowingBadKernel: device.allowBadKernel)
      try ForegroundServer.run(try device.serverOptions(timeout: 30)) { id in
        print("/dev/ublkb\(id)")
        fflush(nil)
      }
    }
  }
}
