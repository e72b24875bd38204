/// Bytes for a person: `512 B`, `4 KiB`, `1.5 GiB`. Exact multiples have no fraction.
public func formatBytes(_ bytes: UInt64) -> String {
  let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"]
  var unit = 0
  var divisor: UInt64 = 1
  while unit + 1 < units.count, bytes / divisor >= 1024 {
    unit += 1
    divisor <<= 10
  }
  let whole = bytes / divisor
  // Rounded down: a device never seems larger than it is.
  let tenths = (bytes % divisor) / (divisor / 10 == 0 ? 1 : divisor / 10)
  return unit == 0 || whole >= 100 || tenths == 0 || bytes % divisor == 0
    ? "\(whole) \(units[unit])" : "\(whole).\(min(tenths, 9)) \(units[unit])"
}

/// A number of things: `1 run`, `2 runs`. `plural` is for words that take more than an s.
public func formatCount(_ count: Int, _ singular: String, _ plural: String? = nil) -> String {
  "\(count) \(count == 1 ? singular : plural ?? singular + "s")"
}

/// A table with aligned columns, two blanks between them; numbers are aligned to the right.
public func formatTable(_ rows: [[String]], rightAligned: Set<Int> = []) -> String {
  var widths: [Int] = []
  for row in rows {
    for (column, cell) in row.enumerated() {
      if column == widths.count { widths.append(0) }
      widths[column] = max(widths[column], cell.count)
    }
  }
  return rows.map { row in
    var line = ""
    for (column, cell) in row.enumerated() {
      let padding = String(repeating: " ", count: widths[column] - cell.count)
      let isLast = column == row.count - 1
      line += rightAligned.contains(column) ? padding + cell : isLast ? cell : cell + padding
      if !isLast { line += "  " }
    }
    return line
  }.joined(separator: "\n")
}
