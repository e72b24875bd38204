import Glibc
import LSMT
import Posix
import TestSupport
import UpperLayer

@testable import Device

/// What a device does for a snapshot, without a device: the upper, and the layers that were uppers.
final class SnapshotStack {
  /// A layer that was an upper.
  private final class Sealed {
    let file: Descriptor
    let segments: [Segment]

    init(_ path: String) throws(DeviceError) {
      do {
        let file = try Descriptor.open(path)
        let size = Int(try file.status().st_size)
        let bytes = try readFile(path, limit: 1 << 30)
        let trailer = try LayerRecord(parsing: Array(bytes[(size - LayerRecord.size)...]).span.bytes, as: .trailer)
        let index = try SealedIndex(trailer: trailer, layerSize: UInt64(size))
        let start = Int(index.byteOffset)
        segments = try index.decode(Array(bytes[start..<start + index.byteCount]).span.bytes)
        self.file = file
      } catch {
        throw .invalidOption("the sealed layer \(path) cannot be read: \(error)")
      }
    }
  }

  private final class Map {
    let map: SegmentMap
    init(_ map: consuming SegmentMap) { self.map = map }
  }

  private(set) var upper: Upper
  /// Milliseconds that each pause takes besides.
  var pauseMilliseconds: UInt32 = 0
  private var table: LayerTable
  private var map: Map?
  private var sealed: [Sealed] = []
  private let points: [PausePoint]
  private let folder: Scratch
  private let stack: TestStack
  private let sectors: UInt64 = 4096

  init(
    _ stack: TestStack, _ upper: Upper, _ table: borrowing LayerTable, _ points: [PausePoint], _ folder: Scratch
  ) {
    self.stack = stack
    self.upper = upper
    self.points = points
    self.folder = folder
    self.table = LayerTable(
      Array(UnsafeBufferPointer(start: table.base, count: table.count)), nextSlot: table.nextSlot)
  }

  /// Makes snapshot `number`; how long the two pauses were. The first one may fail: then all is as before.
  func make(_ number: Int) throws(DeviceError) -> [UInt64] {
    let files = UpperFiles(data: folder("data\(number).\(table.nextSlot)"), index: folder("index\(number)"))
    _ = (unlink(files.data), unlink(files.index))
    let (old, next) = (upper, try open(files))
    let wider = table.adding(next)
    let first = try pause([wider.topFile]) { () throws(DeviceError) in
      try errno { () throws(Errno) in try old.flush() }
      return PausePoint.Change(source: source(wider, next, frozen: old), upper: next)
    }
    upper = next
    table = wider
    do throws(UpperError) { try old.seal() } catch { throw .upper(error) }
    try errno { () throws(Errno) in try old.close() }
    let layer = try Sealed(old.files.data)
    do throws(LSMTError) {
      let map =
        if let map { try SegmentMap(over: map.map, adding: layer.segments, virtualSize: sectors * 512) } else {
          try SegmentMap(over: stack.map, adding: layer.segments, virtualSize: sectors * 512)
        }
      let before = self.map
      self.map = Map(map)
      defer { withExtendedLifetime(before) {} }
      sealed.append(layer)
      var entries = Array(UnsafeBufferPointer(start: table.base, count: table.count))
      let slot = entries[entries.count - 2].file.slot
      entries[entries.count - 2] = LayerSource(
        file: LayerFile(slot: slot, descriptor: layer.file.rawValue), method: .ring, payloadOffset: 0,
        blobBytes: .max, blocks: nil)
      let new = LayerTable(entries, nextSlot: table.nextSlot)
      let second: UInt64
      do throws(DeviceError) {
        second = try pause([]) { () throws(DeviceError) in
          PausePoint.Change(source: source(new, next, frozen: nil), upper: next)
        }
      } catch {
        fatalError("the second pause: \(error)")
      }
      table = new
      withExtendedLifetime(old) {}
      return [first, second]
    } catch {
      throw .invalidOption("\(error)")
    }
  }

  /// What is below the upper in a sector.
  func bytes(_ sector: Int) -> [UInt8]? {
    guard let map else { return nil }
    var cursor = map.map.view.mappings(from: UInt64(sector), count: 1)
    guard let mapping = cursor.next() else { return nil }
    let lowers = stack.sources.count
    if mapping.isZeroes { return [UInt8](repeating: 0, count: 512) }
    if Int(mapping.layer) < lowers { return Array(stack.model[sector * 512..<sector * 512 + 512]) }
    var bytes = [UInt8](repeating: 0, count: 512)
    let file = sealed[Int(mapping.layer) - lowers].file.rawValue
    return pread(file, &bytes, 512, Int(mapping.blobSector) * 512) == 512 ? bytes : nil
  }

  private func open(_ files: UpperFiles) throws(DeviceError) -> Upper {
    do throws(UpperError) {
      try UpperFiles.create(
        data: files.data, index: files.index, kind: .append, virtualSize: sectors * 512, uuid: .random(),
        parentUUID: upper.header.uuid)
      return try Upper.open(
        files, pendingFolder: folder.path, defaultVirtualSize: 0, parentUUID: upper.header.uuid)
    } catch {
      throw .upper(error)
    }
  }

  private func source(_ table: borrowing LayerTable, _ upper: Upper, frozen: Upper?) -> QueueSource {
    QueueSource(
      map: map?.map.view ?? stack.map.view, upper: upper.index.view, upperLayer: UInt8(table.count - 1),
      frozen: frozen?.index.view, layers: table.base, deviceSectors: sectors, dataPath: .copy)
  }

  private func pause(
    _ files: [LayerFile], _ body: () throws(DeviceError) -> PausePoint.Change?
  ) throws(DeviceError) -> UInt64 {
    try QueuePause.run(points, files, Deadline(milliseconds: 10_000), hasEnded: { false }) { () throws(DeviceError) in
      usleep(pauseMilliseconds * 1000)
      return try body()
    }
  }

  private func errno(_ body: () throws(Errno) -> Void) throws(DeviceError) {
    do throws(Errno) { try body() } catch { throw .system(what: "change an upper", error) }
  }
}
