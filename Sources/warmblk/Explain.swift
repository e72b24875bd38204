import ArgumentParser
import Host
import Image
import Trace

struct Explain: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "explain",
    abstract: "Foretell what a start costs of a network, cold, warmed and warm.",
    discussion: """
      Requests, bytes and seconds for the reads that traces name, one after the other: with an empty cache; fetched before
      them, as `add --warm` does; and after that. Only the ends and indexes of remote layers are fetched for it, and not
      kept. The rules are the store's own, and what HTTP and TCP add to bytes is counted; what decoding, disks and the start's
      own work take is not in it, nor are connections and logins.

        warmblk explain --config image.json --trace web.trace --rtt 21ms --rate 200mbit
        warmblk explain --config image.json --trace web.trace --json | jq .warming.seconds
      """)

  @Option(help: ArgumentHelp("The image.", valueName: "image.json"))
  var config: String

  @Option(
    help: ArgumentHelp(
      "What is read: a trace, or reads as text; may be given several times. Default: the image's own.",
      valueName: "file"))
  var trace: [String] = []

  @Option(help: ArgumentHelp("The round trip to the registry: 21ms, 0.2ms, 1s.", valueName: "time"))
  var rtt = RoundTrip(seconds: 0.021)

  @Option(help: ArgumentHelp("What comes from it: 200mbit, 1gbit, 800kbit a second.", valueName: "rate"))
  var rate = BitRate(bytesPerSecond: 25e6)

  @Option(
    help: ArgumentHelp(
      "overlaybd's service configuration. Default: /etc/overlaybd/overlaybd.json, if it exists.",
      valueName: "overlaybd.json"))
  var serviceConfig: String?

  @Flag(help: "One object: opening, cold, warming and warm, each with requests, bytes and seconds.")
  var json = false

  @OptionGroup var common: CommonOptions

  func run() throws {
    common.installLog()
    try failing("explain") { () throws(HostError) in
      let forecast = try imageResult { () throws(ImageError) in
        var settings = try RemoteSettings.load(servicePath: serviceConfig)
        // What the node has already would not be seen as missing.
        settings.cacheFolder = nil
        let image = try Image.open(configPath: config, remote: settings, upper: .offline)
        let paths = trace.isEmpty ? image.config.ownTrace.map { [$0] } ?? [] : trace
        if paths.isEmpty {
          throw .refused("\(config) has no trace of its own: name what is read with --trace")
        }
        var traces: [AccessTrace] = []
        for path in paths {
          let made = try TraceSource.load(path).trace(on: image)
          for note in made.notes { printError("warmblk explain: \(path): \(note)") }
          traces.append(made.trace)
        }
        return StartForecast(traces, of: image, roundTrip: rtt.seconds, bytesPerSecond: rate.bytesPerSecond)
      }
      if json { return try printJSON(forecast) }
      let rows = [
        ("opening the layers", forecast.opening), ("reading, nothing here", forecast.cold),
        ("warming", forecast.warming), ("reading, warmed", forecast.warm),
      ].map { [$0, "\($1.requests)", formatBytes($1.bytes), formatMicroseconds(UInt64($1.seconds * 1e6))] }
      print(formatTable([["", "REQUESTS", "BYTES", "NETWORK"]] + rows, rightAligned: [1, 2, 3]))
    }
  }
}

/// A time as people write it, to a part of a millisecond: `21ms`, `0.2ms`, `500us`, `1s`.
struct RoundTrip: ExpressibleByArgument, CustomStringConvertible {
  let seconds: Double

  init(seconds: Double) { self.seconds = seconds }

  init?(argument: String) {
    let units = [("ms", 1e-3), ("us", 1e-6), ("s", 1.0)]
    guard let (suffix, unit) = units.first(where: { argument.hasSuffix($0.0) }),
      let number = Double(argument.dropLast(suffix.count)), (0...3600).contains(number * unit)
    else { return nil }
    seconds = number * unit
  }

  var description: String { "\(seconds * 1000)ms" }
}

/// A rate as tc writes it, decimal: `200mbit`, `1gbit`, `800kbit`, `9600bit`.
struct BitRate: ExpressibleByArgument, CustomStringConvertible {
  let bytesPerSecond: Double

  init(bytesPerSecond: Double) { self.bytesPerSecond = bytesPerSecond }

  init?(argument: String) {
    let units = [("kbit", 1e3), ("mbit", 1e6), ("gbit", 1e9), ("bit", 1.0)]
    guard let (suffix, unit) = units.first(where: { argument.hasSuffix($0.0) }),
      let number = Double(argument.dropLast(suffix.count)), (1...1e15).contains(number * unit)
    else { return nil }
    bytesPerSecond = number * unit / 8
  }

  var description: String { "\(bytesPerSecond * 8 / 1e6)mbit" }
}
