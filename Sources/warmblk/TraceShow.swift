import ArgumentParser
import Glibc
import Host
import Image
import Posix
import Trace

struct TraceShow: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "show",
    abstract: "Say what a trace holds, and draw it.",
    discussion: """
      How many bytes, as stored, of which layers, and when; then a map: time goes to the right, the disk upwards, and the
      darker a place is, the more was read there.

        warmblk trace show web.trace
        warmblk trace show web.trace --svg web.svg     the map as a picture
        warmblk trace show web.trace --json            all numbers, for programs
      """)

  @Argument(help: ArgumentHelp("The trace; - is standard input.", valueName: "trace"))
  var trace: String

  @Option(help: ArgumentHelp("Also write the map to this file, replacing it.", valueName: "file"))
  var svg: String?

  @Flag(help: "One object instead: totals, layers, slices of time.")
  var json = false

  @OptionGroup var common: CommonOptions

  func run() throws {
    common.installLog()
    try failing("trace show") { () throws(HostError) in
      let loaded = try loadTrace(trace)
      let totals = TraceTotals(loaded)
      if json {
        try printJSON(TraceSummary(loaded, totals))
      } else {
        print(describe(loaded, totals))
        printMap(loaded)
      }
      if let svg { try writePicture(loaded, totals, svg) }
    }
  }

  private func facts(_ trace: AccessTrace, _ totals: TraceTotals) -> String {
    "\(formatBytes(totals.bytes)) as stored, \(formatCount(trace.accesses.count, "access", "accesses")), "
      + formatCount(Int(trace.runs), "run")
  }

  private func describe(_ trace: AccessTrace, _ totals: TraceTotals) -> String {
    var lines = [
      "\(self.trace): \(facts(trace, totals))",
      "image \(trace.imageName), disk of \(formatBytes(trace.deviceSize)), \(formatBytes(totals.deviceBytes)) of it",
    ]
    if trace.recordedAt > 0 { lines.append("recorded \(formatDate(trace.recordedAt))") }
    if totals.all > 0 {
      lines.append(
        "half of it is touched after \(formatMicroseconds(totals.half)), 90 % after \(formatMicroseconds(totals.mostly)), all after "
          + "\(formatMicroseconds(totals.all)); recorded for \(formatMicroseconds(trace.durationMicroseconds))")
    } else {
      lines.append("it has no times, only an order")
    }
    var rows = [["LAYER", "", "SIZE", "ACCESSES", "STORED", "SHARE"]]
    for (number, share) in totals.layers.enumerated() {
      let percent = totals.bytes == 0 ? 0 : Double(share.bytes) / Double(totals.bytes) * 100
      rows.append([
        share.layer == nil ? "-" : "\(number)", shortIdentity(share.layer?.identity),
        share.layer.map { formatBytes($0.size) } ?? "", "\(share.accesses)", formatBytes(share.bytes),
        "\(Int(percent.rounded())) %",
      ])
    }
    lines += ["", formatTable(rows, rightAligned: [0, 2, 3, 4, 5])]
    if totals.all > 0 {
      var rows = [["FROM", "STORED"]]
      for slice in totals.slices {
        rows.append([formatMicroseconds(slice.microseconds.lowerBound), formatBytes(slice.bytes)])
      }
      lines += ["", formatTable(rows, rightAligned: [0, 1])]
    }
    return lines.joined(separator: "\n")
  }

  /// Rows of the terminal that the map has.
  private static let mapRows = 16
  /// Columns for the labels at its left.
  private static let labelWidth = 10

  private func printMap(_ trace: AccessTrace) {
    let columns = min(max(terminalWidth() - Self.labelWidth - 2, 20), 200)
    let map = HeatMap(trace, columns: columns, rows: Self.mapRows)
    if map.device.isEmpty { return print("\nNothing of it is a range of the disk: there is no map.") }
    print("")
    for (row, line) in map.text().enumerated() {
      let label =
        switch row {
        case 0: formatBytes(map.device.upperBound)
        case Self.mapRows - 1: formatBytes(map.device.lowerBound)
        default: ""
        }
      print(
        String(repeating: " ", count: max(0, Self.labelWidth - label.count)) + label + " ▏" + withoutTrailingSpace(line)
      )
    }
    let last =
      switch map.axis {
      case .time(let last): formatMicroseconds(last)
      case .order(let accesses): "\(formatCount(accesses, "access", "accesses")), in order"
      }
    let gap = String(repeating: " ", count: max(1, columns - 1 - last.count))
    print(String(repeating: " ", count: Self.labelWidth + 2) + "0" + gap + last)
  }

  private func withoutTrailingSpace(_ line: String) -> String {
    String(line.reversed().drop { $0 == " " }.reversed())
  }

  private func writePicture(_ trace: AccessTrace, _ totals: TraceTotals, _ path: String) throws(HostError) {
    let map = HeatMap(trace, columns: 160, rows: 80)
    let text = map.svg(
      title: trace.imageName,
      subtitle: facts(trace, totals),
      bytes: formatBytes, time: formatMicroseconds)
    do throws(Errno) { try writeFileAtomically(path, Array(text.utf8)) } catch {
      throw .system(what: "writing \(path)", error)
    }
  }
}

/// Columns of the terminal; 80 where there is none. `COLUMNS` says otherwise.
private func terminalWidth() -> Int {
  if let columns = getenv("COLUMNS").flatMap({ Int(String(cString: $0)) }), columns > 0 { return columns }
  var size = winsize()
  return ioctl(1, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 0 ? Int(size.ws_col) : 80
}

/// A day and a time, in UTC.
private func formatDate(_ seconds: Int64) -> String {
  var time = time_t(seconds)
  var parts = tm()
  guard gmtime_r(&time, &parts) != nil else { return "\(seconds) s after 1970" }
  func two(_ number: Int32) -> String { number < 10 ? "0\(number)" : "\(number)" }
  return "\(parts.tm_year + 1900)-\(two(parts.tm_mon + 1))-\(two(parts.tm_mday)) "
    + "\(two(parts.tm_hour)):\(two(parts.tm_min)) UTC"
}
