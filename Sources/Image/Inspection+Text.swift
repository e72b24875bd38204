extension Inspection: CustomStringConvertible {
  /// For people: a line per fact, the layers of an image indented below it, findings at the end.
  public var description: String {
    let findings = findings.map { "finding: \($0.message)" }
    let verdict =
      isVerified ? ["verified: \(self.findings.isEmpty ? "all of it is as it should be" : "see the findings")"] : []
    return (facts + notes.map { "note: \($0)" } + findings + verdict).joined(separator: "\n")
  }

  /// What it is, without notes and findings.
  private var facts: [String] {
    var lines = ["\(path): \(kind.rawValue), \(size(fileSize))"]
    if let tar {
      lines.append("  tar: the content begins at byte \(tar.payloadOffset) and has \(size(tar.payloadSize))")
    }
    if let compression { lines += text(compression) }
    // The header of a committed layer only repeats its trailer.
    if let header, trailer == nil || kind == .sealedLayer { lines += text(header, "header") }
    if let trailer { lines += text(trailer, "trailer") }
    if let index { lines.append(text(index)) }
    if let upper { lines.append(text(upper)) }
    if let trace {
      lines.append("  trace: \(trace.records) reads of \(size(trace.bytes)), \(trace.layers) layers")
    }
    if let sha256 { lines.append("  sha256: \(sha256)") }
    if let image { lines += text(image) }
    return lines
  }

  private func text(_ zfile: Compressed) -> [String] {
    let tenths = Int((zfile.ratio * 100).rounded())
    let ratio = "\(tenths / 100).\(tenths % 100 < 10 ? "0" : "")\(tenths % 100)"
    return [
      "  compression: \(zfile.codec), ratio \(ratio): \(size(zfile.originalSize)) stored in \(size(zfile.storedSize))",
      "  blocks: \(zfile.blocks) of \(size(UInt64(zfile.blockSize))), longest stored \(zfile.longestBlock) bytes; "
        + "CRC \(zfile.hasChecksums ? "on each" : "on none"), \(zfile.hasDigest ? "and" : "none") on the jump table; "
        + "found through the \(zfile.isHeaderFinal ? "header" : "trailer")",
    ]
  }

  private func text(_ record: Record, _ what: String) -> [String] {
    var lines = [
      "  \(what): device of \(size(record.virtualSize)), flags 0x\(String(record.flags, radix: 16)), "
        + "LSMT \(record.version)",
      "  uuid: \(record.uuid), parent \(record.parentUUID)",
    ]
    if record.indexCount > 0 {
      lines.append("  index: \(record.indexCount) entries at byte \(record.indexOffset)")
    }
    if !record.message.isEmpty { lines.append("  message: \(record.message)") }
    return lines
  }

  private func text(_ index: Index) -> String {
    "  segments: \(index.segments) (\(index.padding ?? 0) padding), longest \(size(index.longestBytes)); "
      + "data \(size(index.dataBytes)), zeroed \(size(index.zeroedBytes)), "
      + "unmapped \(size(index.unmappedBytes)) in \(index.holes) holes"
  }

  private func text(_ upper: Upper) -> String {
    var line = "  upper: \(upper.kind.rawValue), live data \(size(upper.liveBytes))"
    if let entries = upper.entries, let path = upper.indexPath {
      line += ", garbage \(size(upper.garbageBytes)); \(entries) entries in \(path)"
    }
    return line + (upper.isInUse ? "; in use" : "")
  }

  private func text(_ image: Stack) -> [String] {
    var lines: [String] = []
    if let virtualSize = image.virtualSize {
      lines.append("  device: \(size(virtualSize)), \(image.segments ?? 0) segments from \(image.layers.count) layers")
    }
    for (number, layer) in image.layers.enumerated() {
      var line = layer.isUpper ? "  upper" : "  layer \(number)"
      if let data = layer.visibleDataBytes, let zeroed = layer.visibleZeroedBytes {
        line += ": visible data \(size(data)), zeroes \(size(zeroed))"
      }
      if let remote = layer.remote {
        line += ": in a registry, \(remote)"
      } else if layer.inspection == nil {
        line += ": no file\(layer.digest.map { ", \($0)" } ?? "")"
      }
      lines.append(line)
      for fact in layer.inspection?.facts ?? [] { lines.append("    \(fact)") }
      for note in layer.inspection?.notes ?? [] { lines.append("      note: \(note)") }
    }
    return lines
  }

  /// Exact below a MiB and for whole units, rounded to tenths above.
  private func size(_ bytes: UInt64) -> String {
    for (unit, shift) in [("TiB", UInt64(40)), ("GiB", 30), ("MiB", 20)] where bytes >= 1 << shift {
      let tenths = (Double(bytes) / Double(1 << shift) * 10).rounded() / 10
      return tenths == tenths.rounded() ? "\(UInt64(tenths)) \(unit)" : "\(tenths) \(unit)"
    }
    return "\(bytes) bytes"
  }
}
