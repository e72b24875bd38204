import ArgumentParser
import Device
import Host
import Image

/// What `add` and `serve` make a device of.
struct DeviceArguments: ParsableArguments {
  @Option(
    help: ArgumentHelp("The image: an overlaybd configuration, config.v1.json.", valueName: "image.json"))
  var config: String

  @Option(
    help: ArgumentHelp("The number N of /dev/ublkbN. Default: the lowest that is free.", valueName: "n"))
  var id: UInt32?

  @Option(
    help: ArgumentHelp(
      "Hardware queues, each served by a thread. Default: one per CPU, at most 4.", valueName: "q"))
  var queues: Int?

  @Option(help: ArgumentHelp("Requests that a queue may have in flight, 1 to 4096.", valueName: "d"))
  var depth = 128

  @Flag(
    help:
      "A disk without writes, also of an image with a writable layer: what is in it is read, and nobody else can write to it meanwhile."
  )
  var readOnly = false

  @Option(
    help: ArgumentHelp(
      "Record what is read, from the very first read on, and write this trace when the device goes away, or at `warmblk trace stop`.",
      valueName: "file"))
  var record: String?

  @Flag(help: "Also on kernels whose ublk driver is known to crash (see `warmblk doctor`).")
  var allowBadKernel = false

  @OptionGroup var warm: WarmArguments

  @OptionGroup var remote: RemoteArguments

  func validate() throws {
    if let id, id >= 1 << 20 { throw ValidationError("--id \(id): device numbers are 0 to \(1 << 20 - 1).") }
    if let queues, !(1...4096).contains(queues) { throw ValidationError("--queues \(queues): 1 to 4096.") }
    if !(1...4096).contains(depth) { throw ValidationError("--depth \(depth): 1 to 4096.") }
  }

  /// Reads the configuration. One that cannot be parsed has no resultFile to write to. `timeout`: seconds for each
  /// step of the driver.
  func serverOptions(timeout: Int) throws(HostError) -> ServerOptions {
    let image: ImageConfig
    do throws(ImageError) { image = try ImageConfig.load(config) } catch { throw .image(error) }
    var options = ServerOptions(
      config: image, device: DeviceOptions(id: id, queues: queues, depth: depth, timeout: timeout),
      directory: .standard(), remote: try remote.settings())
    options.isReadOnly = readOnly
    options.recordPath = record.map { absolutePath($0) }
    options.warm = try warm.options()
    return options
  }
}
