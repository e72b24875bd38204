import TestSupport

@testable import Trace

extension SplitMix {
  /// A stack of two layers that are compressed in blocks of 8 bytes, and one that is not, on a disk of 256 bytes: so small
  /// that ranges meet, and so regular that a place on the disk says where a byte is stored.
  static let smallStack = [
    TraceLayer(identity: "sha256:a", size: 10_000, isCompressed: true),
    TraceLayer(identity: "sha256:b", size: 10_000, isCompressed: false),
    TraceLayer(identity: "uuid:c", size: 10_000, isCompressed: true),
  ]
  static let smallDisk: UInt64 = 256

  /// Which layer has a byte of the disk: 64 bytes are of each, and 64 of none that is known.
  static func layer(of byte: UInt64) -> Int? { byte < 192 ? Int(byte / 64) : nil }

  /// Where a range of the disk, which must be in one block or in the layer that has none, is stored.
  static func stored(_ device: Range<UInt64>) -> Range<UInt64> {
    guard let layer = layer(of: device.lowerBound) else { return 0..<0 }
    if !smallStack[layer].isCompressed { return device.lowerBound + 100..<device.upperBound + 100 }
    let block = device.lowerBound / 8
    return block * 5 + 40..<block * 5 + 45
  }

  /// A trace of random accesses, most of them of the disk, some of layers' files only. Times repeat.
  mutating func trace(accesses: Int, runs: UInt32 = 1) -> AccessTrace {
    var found: [TraceAccess] = []
    for _ in 0..<accesses {
      let time = UInt64.random(in: 0..<40, using: &self)
      let uses = UInt32.random(in: 1...runs, using: &self)
      if Int.random(in: 0..<5, using: &self) == 0 {
        let start = UInt64.random(in: 0..<60, using: &self)
        let end = start + UInt64.random(in: 1...20, using: &self)
        let layer = Int.random(in: 0..<3, using: &self)
        found.append(TraceAccess(microseconds: time, device: 0..<0, layer: layer, stored: start..<end, runs: uses))
        continue
      }
      let start = UInt64.random(in: 0..<Self.smallDisk, using: &self)
      // Up to the end of its block, or of what is of the same layer.
      let isLinear = !(Self.layer(of: start).map { Self.smallStack[$0].isCompressed } ?? false)
      let limit = isLinear ? (start / 64 + 1) * 64 : (start / 8 + 1) * 8
      let device = start..<UInt64.random(in: start + 1...limit, using: &self)
      found.append(
        TraceAccess(
          microseconds: time, device: device, layer: Self.layer(of: start), stored: Self.stored(device), runs: uses))
    }
    return AccessTrace(
      imageName: "random", deviceSize: Self.smallDisk, layers: Self.smallStack, runs: runs,
      durationMicroseconds: UInt64.random(in: 40...90, using: &self), accesses: found)
  }
}

/// A byte of the disk, or of a layer's file.
struct Byte: Hashable {
  let layer: Int?
  let isDevice: Bool
  let offset: UInt64
}

extension AccessTrace {
  /// The slow way: for each byte when it is touched first, by how many runs, and where it is stored.
  func bytes() -> [Byte: Fate] {
    var found: [Byte: Fate] = [:]
    for access in accesses {
      let isDevice = !access.device.isEmpty
      for offset in isDevice ? access.device : access.stored {
        let byte = Byte(layer: isDevice ? nil : access.layer, isDevice: isDevice, offset: offset)
        let stored: Range<UInt64>
        if isDevice, let layer = access.layer, !layers[layer].isCompressed {
          let place = access.stored.lowerBound + (offset - access.device.lowerBound)
          stored = place..<place + 1
        } else {
          stored = isDevice ? access.stored : offset..<offset + 1
        }
        var fate = found[byte] ?? Fate(time: access.microseconds, runs: 0, layer: access.layer, stored: stored)
        fate.runs = max(fate.runs, access.runs)
        found[byte] = fate
      }
    }
    return found
  }
}

/// What a trace says of a byte.
struct Fate: Equatable {
  var time: UInt64
  var runs: UInt32
  var layer: Int?
  var stored: Range<UInt64>
}
