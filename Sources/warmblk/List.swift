import ArgumentParser
import Host

struct List: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "list",
    abstract: "Show the devices and what they have done.",
    discussion: """
      One line per device that warmblk made. State is live, starting, stopping, paused (its server is stopped, so
      reads wait), dead (its server is gone: reads wait for `warmblk recover`), recovering or unknown (its state file is damaged); what is wrong and what to do is
      said below the table. Errors are requests that were answered with an error: why is in /run/warmblk/N.log.
      WARM is how much of what its traces name is on this machine, and in the page cache if that was asked for, or yes;
      held, after a recovery or an upgrade, where the page cache is kept as far as the last server's end has left it.
      FETCHED is what came from a registry since the device was made; what the node's cache had is not in it.
      UPPER, where a device is writable, is how much of the disk is in its writable layer, GARBAGE what lies in the
      layer's data file and is not read any more, because it was overwritten.

        warmblk list
        warmblk list --json | jq '.[] | select(.state != "live")'
      """)

  @Flag(help: "An array of objects; sizes are bytes.")
  var json = false

  @Flag(help: "Also devices of the ublk driver that other programs made, as foreign.")
  var allDevices = false

  @OptionGroup var common: CommonOptions

  func run() throws {
    common.installLog()
    try failing("list") { () throws(HostError) in
      let devices = try DeviceListing.all(.standard(), foreign: allDevices)
      if json { return try printJSON(devices) }
      if devices.isEmpty { return print("no devices") }
      let isWritable = devices.contains { $0.upper != nil }
      let header =
        ["ID", "DEVICE", "SIZE", "STATE", "LAYERS", "QUEUES", "DATA", "PID", "REQUESTS", "ERRORS", "FETCHED"]
        + (isWritable ? ["UPPER", "GARBAGE"] : []) + ["WARM", "IMAGE"]
      let rows = devices.map { row($0, isWritable) }
      print(formatTable([header] + rows, rightAligned: Set([0, 2, 4, 5, 7, 8, 9, 10] + (isWritable ? [11, 12] : []))))
      for device in devices {
        if let problem = device.problem { print("\(device.device): \(problem)") }
      }
    }
  }

  private func row(_ device: DeviceListing, _ hasUpperColumns: Bool) -> [String] {
    func text<T>(_ value: T?) -> String { value.map { "\($0)" } ?? "-" }
    return [
      "\(device.id)", device.device, device.size.map(formatBytes) ?? "-", device.state.rawValue,
      text(device.layers?.count), device.queues.map { "\($0)x\(device.depth ?? 0)" } ?? "-",
      text(device.data),
      text(device.pid), text(device.requests), text(device.errors),
      device.remote.map { formatBytes($0.counts.fetchedBytes) } ?? "-",
    ] + (hasUpperColumns ? upper(device) : []) + [device.warm.map(warmth) ?? "-", text(device.image)]
  }

  private func upper(_ device: DeviceListing) -> [String] {
    guard let written = device.written else { return ["-", "-"] }
    return [formatBytes(written.dataBytes), formatBytes(written.garbageBytes)]
  }

  private func warmth(_ warm: WarmStatus) -> String {
    switch warm.state {
    case .warm: "yes"
    case .held: "held"
    case .warming, .incomplete:
      "\(warm.percent) %"
    }
  }
}
