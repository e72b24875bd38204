/// Parts of an access: what makes merging possible without the image.
extension TraceAccess {
  /// Whether a part of the disk's range is in the whole of the stored one: a compressed block.
  func isBlock(_ layers: [TraceLayer]) -> Bool {
    !device.isEmpty && (layer.map { layers[$0].isCompressed } ?? true)
  }

  /// All but its first `count` bytes; of the disk, or stored where there are none of the disk.
  func part(from count: UInt64, _ layers: [TraceLayer]) -> TraceAccess {
    cut(layers) { $0.lowerBound + count..<$0.upperBound }
  }

  /// Its first `count` bytes.
  func part(upTo count: UInt64, _ layers: [TraceLayer]) -> TraceAccess {
    cut(layers) { $0.lowerBound..<$0.lowerBound + count }
  }

  private func cut(_ layers: [TraceLayer], _ cut: (Range<UInt64>) -> Range<UInt64>) -> TraceAccess {
    TraceAccess(
      microseconds: microseconds, device: device.isEmpty ? device : cut(device), layer: layer,
      stored: isBlock(layers) ? stored : cut(stored), runs: runs)
  }

  /// Both as one, if they follow each other everywhere and differ in nothing else.
  func joined(with next: TraceAccess, _ layers: [TraceLayer]) -> TraceAccess? {
    guard microseconds == next.microseconds, runs == next.runs, layer == next.layer,
      device.isEmpty == next.device.isEmpty, device.upperBound == next.device.lowerBound || device.isEmpty,
      device.count64 + next.device.count64 <= Self.countMax
    else { return nil }
    if isBlock(layers) {
      guard stored == next.stored else { return nil }
      return TraceAccess(
        microseconds: microseconds, device: device.lowerBound..<next.device.upperBound, layer: layer, stored: stored,
        runs: runs)
    }
    guard stored.upperBound == next.stored.lowerBound, stored.count64 + next.stored.count64 <= Self.countMax else {
      return nil
    }
    return TraceAccess(
      microseconds: microseconds, device: device.isEmpty ? device : device.lowerBound..<next.device.upperBound,
      layer: layer, stored: stored.lowerBound..<next.stored.upperBound, runs: runs)
  }
}
