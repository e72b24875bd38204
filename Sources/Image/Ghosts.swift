import LSMT
import Posix
import UpperLayer

/// One layer can be larger than those above it. What it has beyond their end is on no disk, and must not come back when a
/// disk on top of them is larger again.
extension ImageConfig {
  /// The sectors within bytes `range` where the lowers store something.
  public func ghosts(in range: Range<UInt64>, remote: RemoteSettings?) throws(ImageError) -> [Range<UInt64>] {
    if lowers.isEmpty || range.isEmpty { return [] }
    var config = self
    config.upper = .init()
    let sector = UInt64(sectorSize)
    let start = (range.lowerBound + sector - 1) / sector
    var found: [Range<UInt64>] = []
    let image = try Image.open(config: config, remote: remote, virtualSize: range.upperBound)
    try image.forEachStoredRange { stored throws(ImageError) in
      let first = max(start, stored.lowerBound / sector)
      let end = stored.upperBound / sector
      if first >= end { return }
      if let last = found.last, last.upperBound == first {
        found[found.count - 1] = last.lowerBound..<end
      } else {
        found.append(first..<end)
      }
    }
    return found
  }
}

extension Upper {
  /// Makes `sectors` zeroes, whatever the layers below have there.
  func hide(_ sectors: [Range<UInt64>]) throws(ImageError) {
    for range in sectors {
      do throws(Errno) {
        try zero(sector: range.lowerBound, sectors: range.upperBound - range.lowerBound, keepsSpace: true)
      } catch {
        throw .system(call: "hiding what a layer has beyond the old end", path: files.data, error)
      }
    }
  }
}
