/// Which bytes two traces name: as stored in layers that both may have, wherever those are in their stacks.
public struct TraceDifference: Equatable, Sendable {
  /// Bytes of one layer's file; of the disk for what no layer is known for.
  public struct Part: Equatable, Sendable {
    /// ``TraceLayer/identity``; nil for bytes of the disk.
    public let layer: String?
    /// Bytes that only the first trace names.
    public let onlyFirst: UInt64
    /// Bytes that only the second names.
    public let onlySecond: UInt64
    /// Bytes that both name.
    public let both: UInt64
  }

  /// The first trace's layers, bottom first, then those that only the second has, then the disk; without what is empty.
  public let parts: [Part]
  /// Bytes that only the first trace names.
  public var onlyFirst: UInt64 { parts.reduce(0) { $0 + $1.onlyFirst } }
  /// Bytes that only the second names.
  public var onlySecond: UInt64 { parts.reduce(0) { $0 + $1.onlySecond } }
  /// Bytes that both name.
  public var both: UInt64 { parts.reduce(0) { $0 + $1.both } }

  /// Compares two traces.
  public init(_ first: AccessTrace, _ second: AccessTrace) {
    let left = first.storedRanges()
    let right = second.storedRanges()
    var layers: [TraceLayer?] = []
    for layer in first.layers + second.layers where !layers.contains(layer) { layers.append(layer) }
    parts = (layers + [nil]).compactMap { layer in
      let (a, b) = (left[layer] ?? ByteRanges(), right[layer] ?? ByteRanges())
      let both = a.intersection(b).byteCount
      let part = Part(
        layer: layer?.identity, onlyFirst: a.byteCount - both, onlySecond: b.byteCount - both, both: both)
      return part.onlyFirst + part.onlySecond + part.both == 0 ? nil : part
    }
  }
}

extension AccessTrace {
  /// What is named of each layer's file, as stored; for nil, of the disk where no layer is known. A layer that is in the stack
  /// twice is one.
  public func storedRanges() -> [TraceLayer?: ByteRanges] {
    var found = [[Range<UInt64>]](repeating: [], count: layers.count + 1)
    for access in accesses {
      if let layer = access.layer {
        found[layer].append(access.stored)
      } else {
        found[layers.count].append(access.device)
      }
    }
    var unsorted: [TraceLayer?: [Range<UInt64>]] = [:]
    for (layer, ranges) in zip(layers + [nil], found) { unsorted[layer, default: []] += ranges }
    return unsorted.mapValues { ByteRanges($0) }
  }
}
