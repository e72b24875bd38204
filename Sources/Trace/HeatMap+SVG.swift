/// The map as a picture that needs nothing else: no script, no font, no other file.
extension HeatMap {
  private enum Layout {
    static let cell = 6
    static let left = 90, top = 40, right = 20, bottom = 50
  }

  /// An SVG document. `title` and `subtitle` are above the map, `labels` for the axes come from the caller, who knows
  /// how people read bytes and times.
  public func svg(
    title: String, subtitle: String, bytes: (UInt64) -> String, time: (UInt64) -> String
  ) -> String {
    let width = columns * Layout.cell
    let height = rows * Layout.cell
    let total = (width + Layout.left + Layout.right, height + Layout.top + Layout.bottom)
    var lines = [
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 \(total.0) \(total.1)\" width=\"\(total.0)\" "
        + "height=\"\(total.1)\" font-family=\"sans-serif\" font-size=\"11\">",
      "<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>",
      "<text x=\"\(Layout.left)\" y=\"16\" font-size=\"14\">\(escaped(title))</text>",
      "<text x=\"\(Layout.left)\" y=\"31\" fill=\"#555555\">\(escaped(subtitle))</text>",
      "<rect x=\"\(Layout.left)\" y=\"\(Layout.top)\" width=\"\(width)\" height=\"\(height)\" fill=\"#f4f4f6\"/>",
    ]
    for row in 0..<rows {
      for column in 0..<columns where self.bytes(row: row, column: column) > 0 {
        let x = Layout.left + column * Layout.cell
        let y = Layout.top + (rows - 1 - row) * Layout.cell
        let size = bytes(self.bytes(row: row, column: column))
        lines.append(
          "<rect x=\"\(x)\" y=\"\(y)\" width=\"\(Layout.cell)\" height=\"\(Layout.cell)\" "
            + "fill=\"\(Self.color(heat(row: row, column: column)))\"><title>\(escaped(size))</title></rect>")
      }
    }
    lines += axes(width, height, bytes, time)
    return lines.joined(separator: "\n") + "\n</svg>\n"
  }

  private func axes(
    _ width: Int, _ height: Int, _ bytes: (UInt64) -> String, _ time: (UInt64) -> String
  ) -> [String] {
    var lines: [String] = []
    for step in 0...4 {
      let offset = device.lowerBound + (device.upperBound - device.lowerBound) / 4 * UInt64(step)
      let y = Layout.top + height - height * step / 4 + 4
      lines.append("<text x=\"\(Layout.left - 6)\" y=\"\(y)\" text-anchor=\"end\">\(escaped(bytes(offset)))</text>")
      let label: String
      switch axis {
      case .time(let last): label = time(last / 4 * UInt64(step))
      case .order(let accesses): label = "\(accesses / 4 * step)"
      }
      let x = Layout.left + width * step / 4
      lines.append(
        "<text x=\"\(x)\" y=\"\(Layout.top + height + 16)\" text-anchor=\"middle\">\(escaped(label))</text>")
    }
    let caption = if case .time = axis { "time of first touch" } else { "place in the order of first touch" }
    lines.append(
      "<text x=\"\(Layout.left + width / 2)\" y=\"\(Layout.top + height + 36)\" text-anchor=\"middle\" "
        + "fill=\"#555555\">\(caption); upwards: offset on the disk; darker: more bytes</text>")
    return lines
  }

  /// From a light blue to a dark violet, so that it can be read without seeing colours.
  private static func color(_ heat: Double) -> String {
    let cold = (190.0, 215.0, 240.0)
    let hot = (60.0, 10.0, 90.0)
    let parts = [cold.0 + (hot.0 - cold.0) * heat, cold.1 + (hot.1 - cold.1) * heat, cold.2 + (hot.2 - cold.2) * heat]
    return "#"
      + parts.map { part in
        let digits = String(UInt8(part), radix: 16)
        return digits.utf8.count == 1 ? "0" + digits : digits
      }.joined()
  }

  private func escaped(_ text: String) -> String {
    var result = ""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "<": result += "&lt;"
      case ">": result += "&gt;"
      case "&": result += "&amp;"
      case "\"": result += "&quot;"
      // XML has no form for these at all.
      case _ where scalar.value < 0x20 || (0x7F..<0xA0).contains(scalar.value): result += "?"
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result
  }
}
