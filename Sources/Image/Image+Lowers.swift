import LSMT
import Posix
import Synchronization
import UpperLayer

/// The layers below an upper, as a sparse one asks for them.
extension Image {
  /// What is asked of this image, which `config` describes, without an upper. `remote` is as for opening it.
  ///
  /// What layers have beyond the disk's end is looked up when it is asked for the first time, and is taken to be everything
  /// there if that fails: then zeroes are stored that need not be.
  public func lowerLayers(of config: ImageConfig, remote: RemoteSettings?) -> LowerLayers {
    let end = (virtualSize + UInt64(sectorSize) - 1) / UInt64(sectorSize)
    let reader = Mutex(SharedReader(self))
    let beyond = HiddenRanges(config: config, remote: remote, from: virtualSize)
    return LowerLayers(
      shown: { [self] in firstShown(in: $0, end) },
      stored: { [self] sectors in
        if let shown = firstShown(in: sectors, end) { return shown }
        return sectors.upperBound > end ? beyond.first(in: max(sectors.lowerBound, end)..<sectors.upperBound) : nil
      },
      read: { sector, buffer throws(Errno) in
        let failure = reader.withLock { reader in reader.read(sector, buffer) }
        if let failure { throw failure }
      })
  }

  private func firstShown(in sectors: Range<UInt64>, _ end: UInt64) -> Range<UInt64>? {
    var next = sectors.lowerBound
    let stop = min(sectors.upperBound, end)
    if next >= stop { return nil }
    var cursor = map.view.mappings(from: next, count: stop - next)
    while let mapping = cursor.next() {
      if !mapping.isZeroes { return next..<next + mapping.sectors }
      next += mapping.sectors
    }
    return nil
  }
}

/// A reader that several threads use, one at a time.
private final class SharedReader: @unchecked Sendable {
  private let image: Image
  private var reader: ImageReader

  init(_ image: Image) {
    self.image = image
    reader = ImageReader(image)
  }

  /// Reads from `sector` on; beyond the disk's end are zeroes.
  func read(_ sector: UInt64, _ buffer: UnsafeMutableRawBufferPointer) -> Errno? {
    let start = sector * UInt64(sectorSize)
    let count = start < image.virtualSize ? Int(min(UInt64(buffer.count), image.virtualSize - start)) : 0
    UnsafeMutableRawBufferPointer(rebasing: buffer[count...]).initializeMemory(as: UInt8.self, repeating: 0)
    if count == 0 { return nil }
    do throws(ImageError) {
      try reader.read(into: UnsafeMutableRawBufferPointer(rebasing: buffer[..<count]), at: start)
      return nil
    } catch {
      return .ioError
    }
  }
}

/// What layers have stored beyond the end of their disk.
private final class HiddenRanges: Sendable {
  private let config: ImageConfig
  private let remote: RemoteSettings?
  private let start: UInt64
  private let found = Mutex<[Range<UInt64>]?>(nil)

  init(config: ImageConfig, remote: RemoteSettings?, from start: UInt64) {
    self.config = config
    self.remote = remote
    self.start = start
  }

  func first(in sectors: Range<UInt64>) -> Range<UInt64>? {
    let ranges = found.withLock { found in
      if let found { return found }
      let all = start / UInt64(sectorSize)..<SegmentMap.maxVirtualSize / UInt64(sectorSize)
      let ranges = (try? config.ghosts(in: start..<SegmentMap.maxVirtualSize, remote: remote)) ?? [all]
      found = ranges
      return ranges
    }
    return ranges.lazy.map { $0.clamped(to: sectors) }.first { !$0.isEmpty }
  }
}
