import Device

/// The state of devices in the text format of Prometheus.
public enum MetricsText {
  private struct Family: Sendable {
    let name: String
    let kind: String
    let help: String
    let value: @Sendable (DeviceListing) -> UInt64?
  }

  private static let families: [Family] = [
    Family(name: "up", kind: "gauge", help: "1 while the device answers.") { $0.state == .live ? 1 : 0 },
    Family(name: "size_bytes", kind: "gauge", help: "Bytes of the disk.") { $0.size },
    Family(name: "requests_total", kind: "counter", help: "Requests served.") { $0.requests },
    Family(name: "read_bytes_total", kind: "counter", help: "Bytes read by them.") { $0.bytes },
    Family(name: "writable", kind: "gauge", help: "1 if the disk has a writable layer.") { device in
      device.image.map { _ in device.upper == nil ? 0 : 1 }
    },
    Family(name: "written_bytes_total", kind: "counter", help: "Bytes written.") {
      $0.upper == nil ? nil : $0.writtenBytes
    },
    Family(name: "flushes_total", kind: "counter", help: "Flushes, and writes through the cache.") {
      $0.upper == nil ? nil : $0.flushes
    },
    Family(name: "upper_data_bytes", kind: "gauge", help: "Bytes of the disk that are in the writable layer.") {
      $0.written?.dataBytes
    },
    Family(name: "upper_garbage_bytes", kind: "gauge", help: "Bytes of its data file that nothing maps any more.") {
      $0.written?.garbageBytes
    },
    Family(name: "upper_pending_entries", kind: "gauge", help: "Mappings that the next flush makes durable.") {
      $0.written.map { UInt64($0.pendingEntries) }
    },
    Family(name: "errors_total", kind: "counter", help: "Requests that were answered with an error.") { $0.errors },
    Family(name: "registry_trouble", kind: "gauge", help: "1 while a registry of the image fails.") { device in
      device.remote.map { $0.trouble == nil ? 0 : 1 }
    },
    Family(name: "fetched_bytes_total", kind: "counter", help: "Bytes that came from a registry.") {
      $0.remote?.counts.fetchedBytes
    },
    Family(name: "fetches_total", kind: "counter", help: "Requests for them.") { $0.remote?.counts.fetches },
    Family(name: "waits_total", kind: "counter", help: "Reads that waited for the network.") {
      $0.remote?.counts.waits
    },
    Family(name: "joins_total", kind: "counter", help: "Of these, reads whose bytes were on the way already.") {
      $0.remote?.counts.joins
    },
    Family(name: "cache_repairs_total", kind: "counter", help: "Damaged chunks of the cache, fetched again.") {
      $0.remote?.counts.repairs
    },
    Family(name: "cache_bypasses_total", kind: "counter", help: "Chunks that the cache did not take.") {
      $0.remote?.counts.bypasses
    },
    Family(name: "fetch_failures_total", kind: "counter", help: "Waits that ended with an error.") {
      $0.remote?.counts.failures
    },
  ]

  private static let histograms: [(kind: LatencyHistogram.Class, name: String, help: String)] = [
    (.local, "local_read_seconds", "Times of reads that were served with what this machine had"),
    (.remote, "network_read_seconds", "Times of reads that waited for the network"),
    (.write, "write_seconds", "Times of writes"),
    (.flush, "flush_seconds", "Times of flushes"),
  ]

  /// Of all devices of a run directory.
  public static func all(_ directory: RunDirectory) throws(HostError) -> String {
    let devices = try DeviceListing.all(directory, foreign: false)
    var latencies: [UInt32: [LatencyHistogram.Class: LatencyHistogram]] = [:]
    for device in devices {
      let reading = try? CounterPage.read(directory.countersPath(device.id))
      latencies[device.id] = reading?.latencies(isWritable: device.upper != nil)
    }
    return of(devices, latencies)
  }

  /// One line for each device and number that is known of it, each family under its `HELP` and `TYPE`.
  static func of(
    _ devices: [DeviceListing], _ latencies: [UInt32: [LatencyHistogram.Class: LatencyHistogram]] = [:]
  ) -> String {
    var text = ""
    for family in families {
      let samples = devices.compactMap { device in
        family.value(device).map { "warmblk_\(family.name)\(labels(device)) \($0)\n" }
      }
      if samples.isEmpty { continue }
      text += "# HELP warmblk_\(family.name) \(family.help)\n# TYPE warmblk_\(family.name) \(family.kind)\n"
      text += samples.joined()
    }
    for (kind, name, help) in histograms {
      let samples = devices.compactMap { device in
        latencies[device.id]?[kind].map { of($0, "warmblk_\(name)", device) }
      }
      if samples.isEmpty { continue }
      text += "# HELP warmblk_\(name) \(help); the sum is up to 12.5 % too large.\n# TYPE warmblk_\(name) histogram\n"
      text += samples.joined()
    }
    return text
  }

  private static func of(_ histogram: LatencyHistogram, _ name: String, _ device: DeviceListing) -> String {
    let ends = histogram.octaves.map { "\(name)_bucket\(labels(device, "le=\"\($0.end)\"")) \($0.count)\n" }
    return ends.joined() + "\(name)_bucket\(labels(device, "le=\"+Inf\"")) \(histogram.total)\n"
      + "\(name)_sum\(labels(device)) \(histogram.sum)\n\(name)_count\(labels(device)) \(histogram.total)\n"
  }

  private static func labels(_ device: DeviceListing, _ more: String? = nil) -> String {
    "{device=\"\(device.id)\",image=\"\(escaped(device.image ?? ""))\"\(more.map { ",\($0)" } ?? "")}"
  }

  private static func escaped(_ text: String) -> String {
    text.reduce(into: "") { result, character in
      switch character {
      case "\\": result += "\\\\"
      case "\"": result += "\\\""
      case "\n": result += "\\n"
      default: result.append(character)
      }
    }
  }
}
