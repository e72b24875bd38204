import Glibc
import LSMT
import Posix
import TestSupport
import Testing

@testable import UpperLayer

/// A layer on a ``CrashDisk``, and what each sector may be by the rules of durability.
///
/// A sector's value is 0 where the layer does not map it, 1 where it is zeroes, else the number of the write that it has; `.max` is
/// a mix of several, which only a sector can be whose data the disk refused to store.
/// `now` is what a read may give, `later` what it may give after a power loss.
struct CrashRun {
  static let deviceSectors: UInt64 = 128
  static let uuid = testUUID

  let disk: CrashDisk
  let log: PendingLog
  var upper: AppendUpper<CrashDisk>?
  private var random: SplitMix
  private let compactionFloor: UInt64
  private let fillsUp: Bool
  private let compactsOften: Bool

  private var now: [Set<UInt64>]
  private var later: [Set<UInt64>]
  /// Sectors whose data the disk refused to store: a power loss may leave anything of them.
  private var tainted: Set<Int> = []
  /// Those of them that were written again since, and not flushed yet.
  private var rewritten: Set<Int> = []
  private var isUnflushed: Set<Int> = []
  private var version: UInt64 = 1
  /// What is wrong; the first thing ends the run.
  var failure: String?
  private(set) var powerCuts = 0
  private(set) var kills = 0
  /// What compactions gave back.
  private(set) var freedBytes: UInt64 = 0

  /// With another `variant`, the same run has other leftovers of its power losses.
  init(seed: UInt64, variant: UInt64 = 0, compactsOften: Bool = false) throws {
    random = SplitMix(state: seed)
    self.compactsOften = compactsOften
    compactionFloor = Bool.random(using: &random) ? 6 : 1 << 20
    fillsUp = Int.random(in: 0..<3, using: &random) == 0
    let header = LayerRecord(
      flags: 3, virtualSize: Self.deviceSectors * 512, uuid: Self.uuid)
    let indexHeader = LayerRecord(
      flags: 1, indexOffset: 4096, virtualSize: Self.deviceSectors * 512, uuid: Self.uuid)
    disk = CrashDisk(
      data: header.encoded(), index: indexHeader.encoded(), random: random,
      cutRandom: SplitMix(state: seed &+ variant &* 0x1000_0001))
    let capacity = 256
    log = PendingLog(
      try MemoryMapping(anonymous: PendingLog.byteCount(capacity: capacity)), capacity: capacity)
    log.format(for: Self.identity)
    now = Array(repeating: [0], count: Int(Self.deviceSectors))
    later = now
  }

  static let identity = PendingLog.Identity(
    boot: Array(repeating: 7, count: 16), device: 1, inode: 2, birthSeconds: 3, birthNanoseconds: 4, uuid: uuid)

  /// Runs `steps` operations; at operation `fault.at` of the disk something goes wrong. Then the machine or the process
  /// ends, the layer is opened and compared, and closed and compared.
  mutating func run(steps: Int, fault: (at: Int, kind: FaultyDisk.Fault)?, losesPower: Bool) {
    disk.fault = fault
    open()
    for _ in 0..<steps where failure == nil {
      if disk.isStopped { end(losingPower: losesPower) }
      step()
    }
    if failure == nil { end(losingPower: losesPower) }
    // A fault that was not reached must not fire while the end is looked at.
    disk.fault = nil
    disk.capacity = .max
    if failure == nil { closeAndCheck() }
  }

  /// Runs `steps` operations without a fault.
  mutating func prepare(steps: Int) {
    open()
    for _ in 0..<steps where failure == nil { step() }
    disk.capacity = .max
  }

  /// Seals the layer with something going wrong, then ends the machine or the process, and compares what is there,
  /// sealed or not. Whether it is sealed.
  mutating func seal(fault: (at: Int, kind: FaultyDisk.Fault), losesPower: Bool) -> Bool {
    guard let sealing = upper, failure == nil else { return false }
    disk.fault = fault
    do throws(UpperChangeError) {
      try sealing.seal()
      noteDurable()
    } catch {
      noteLoss()
      if !disk.isStopped, !disk.hasLostData {
        disk.fault = nil
        // It is as it was: takes writes, and a flush.
        write()
        flush()
      }
    }
    upper = nil
    let hadLostData = disk.hasLostData
    if losesPower { disk.cut() } else { disk.restart() }
    let bytes = disk.data.bytes
    guard let trailer = try? Self.header(Array(bytes.suffix(4096)), .trailer), trailer.uuid == Self.uuid else {
      if losesPower { log.format(for: Self.identity) }
      open()
      compare(afterPowerLoss: losesPower)
      if !hadLostData { closeAndCheck() }
      return false
    }
    do {
      let index = try SealedIndex(trailer: trailer, layerSize: UInt64(bytes.count))
      let start = Int(index.byteOffset)
      let segments = try index.decode(bytes.span.bytes.extracting(start..<start + index.byteCount))
      for sector in now.indices where !tainted.contains(sector) {
        let segment = segments.last { $0.offset <= sector && sector < $0.end }
        var value: UInt64 = segment == nil ? 0 : 1
        if let segment, !segment.isZeroed {
          value = Self.value(of: sector, at: segment.moffset + UInt64(sector) - segment.offset, in: bytes)
        }
        let allowed = losesPower ? later[sector] : now[sector]
        if !allowed.contains(value) {
          failure = "sector \(sector) is \(value) when sealed, may be \(allowed.sorted())"
        }
      }
    } catch { failure = "sealed, and cannot be opened: \(error)" }
    return true
  }

  // MARK: Steps

  private mutating func step() {
    if compactsOften, Int.random(in: 0..<4, using: &random) == 0 { return compact() }
    switch Int.random(in: 0..<100, using: &random) {
    case 0..<45: write()
    case 45..<60: zero()
    case 60..<78: flush()
    case 78..<86:
      // FUA.
      write()
      flush()
    case 86..<90: end(losingPower: Bool.random(using: &random))
    case 90..<94: closeAndCheck()
    case 94..<97:
      if fillsUp {
        disk.capacity =
          disk.capacity == .max
          ? disk.data.bytes.count + disk.index.bytes.count + Int.random(in: 0..<20000, using: &random) : .max
      }
    default: compact()
    }
  }

  private mutating func randomRange() -> Range<UInt64> {
    let start = UInt64.random(in: 0..<Self.deviceSectors, using: &random)
    let count = min(UInt64.random(in: 1...16, using: &random), Self.deviceSectors - start)
    return start..<start + count
  }

  private mutating func write() {
    guard let upper else { return }
    version += 1
    let count = Int.random(in: 1...4, using: &random)
    var ranges: [Range<UInt64>] = []
    for _ in 0..<count {
      // Often one behind the other.
      if let last = ranges.last, last.upperBound < Self.deviceSectors, Bool.random(using: &random) {
        ranges.append(last.upperBound..<min(Self.deviceSectors, last.upperBound + 4))
      } else {
        ranges.append(randomRange())
      }
    }
    let content = ranges.map { sectorsBytes($0.lowerBound, UInt64($0.count), version) }
    let buffers = content.map { bytes in
      let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 16)
      bytes.withUnsafeBytes { buffer.copyMemory(from: $0) }
      return buffer
    }
    defer { buffers.forEach { $0.deallocate() } }
    let pieces = zip(ranges, buffers).map {
      UpperWrite(sector: $0.lowerBound, bytes: UnsafeRawBufferPointer($1))
    }
    do throws(Errno) {
      let result: Result<Void, Errno> = pieces.withUnsafeBufferPointer { pieces in
        do throws(Errno) { return .success(try upper.write(pieces)) } catch { return .failure(error) }
      }
      try result.get()
      for sector in ranges.joined() { acknowledge(Int(sector), version) }
    } catch {
      noteLoss()
      // A refused write maps nothing; one that was cut off may.
      if disk.isStopped { for sector in ranges.joined() { attempt(Int(sector), version) } }
    }
  }

  private mutating func zero() {
    guard let upper else { return }
    let range = randomRange()
    do throws(Errno) {
      try upper.zero(
        sector: range.lowerBound, sectors: UInt64(range.count), keepsSpace: Bool.random(using: &random))
      for sector in range { acknowledge(Int(sector), 1) }
    } catch {
      noteLoss()
      for sector in range { attempt(Int(sector), 1) }
    }
  }

  private mutating func flush() {
    guard let upper else { return }
    let wasFull = disk.capacity != .max
    do throws(Errno) {
      var isDone = false
      if Bool.random(using: &random) { isDone = try upper.flushNow() }
      if !isDone { try upper.flush() }
      if disk.hasLostData { failure = "a flush succeeded after data was lost" }
      noteDurable()
    } catch {
      noteLoss()
      if wasFull, error == .noSpace, disk.fault == nil { failure = "a flush failed on a full disk" }
    }
  }

  private mutating func compact() {
    guard let upper else { return }
    var stepsLeft = Bool.random(using: &random) ? Int.max : Int.random(in: 0..<4, using: &random)
    do throws(UpperChangeError) {
      let report = try upper.compact(
        bytesPerSecond: nil, writersDeadline: Deadline(milliseconds: 0), waitForReaders: { true },
        shouldGoOn: { _ in
          stepsLeft -= 1
          return stepsLeft >= 0
        })
      if report.outcome == .complete || report.outcome == .cancelled {
        // It flushed first.
        for sector in now.indices where !tainted.contains(sector) { later[sector] = now[sector] }
        isUnflushed = []
        freedBytes += report.progress.freedBytes
      } else {
        failure = "a compaction ended as \(report.outcome)"
      }
    } catch { noteLoss() }
    for sector in now.indices where failure == nil {
      guard now[sector].contains(Self.value(of: sector, in: upper)) else {
        failure = "sector \(sector) is another one after a compaction"
        return
      }
    }
  }

  private mutating func acknowledge(_ sector: Int, _ value: UInt64) {
    now[sector] = [value]
    later[sector].insert(value)
    isUnflushed.insert(sector)
    if !disk.hasLostData, tainted.contains(sector) { rewritten.insert(sector) }
  }

  private mutating func attempt(_ sector: Int, _ value: UInt64) {
    now[sector].insert(value)
    later[sector].insert(value)
    isUnflushed.insert(sector)
  }

  mutating func noteDurable() {
    tainted.subtract(rewritten)
    rewritten = []
    for sector in now.indices where !tainted.contains(sector) { later[sector] = now[sector] }
    isUnflushed = []
  }

  mutating func noteLoss() {
    if !disk.hasLostData { return }
    tainted.formUnion(isUnflushed)
    rewritten = []
  }

  // MARK: Ends

  private mutating func end(losingPower: Bool) {
    upper = nil
    if losingPower {
      powerCuts += 1
      disk.cut()
      log.format(for: Self.identity)
    } else {
      kills += 1
      disk.restart()
      if Int.random(in: 0..<4, using: &random) == 0 { writeAsAnother() }
    }
    disk.capacity = .max
    open()
    compare(afterPowerLoss: losingPower)
  }

  /// Another program opens the layer after a kill, writes some sectors, and synchronizes nothing, as overlaybd does.
  private mutating func writeAsAnother() {
    guard strictComplaint(data: disk.data.bytes, index: disk.index.bytes) == nil else { return }
    for _ in 0..<Int.random(in: 1...3, using: &random) {
      version += 1
      let range = randomRange()
      disk.append(
        sectorsBytes(range.lowerBound, UInt64(range.count), version),
        entry: Segment(
          offset: range.lowerBound, length: UInt32(range.count), moffset: UInt64(disk.data.bytes.count / 512), tag: 3))
      for sector in range {
        acknowledge(Int(sector), version)
        // Its entry may be stored without its data, until a flush of ours.
        tainted.insert(Int(sector))
        rewritten.insert(Int(sector))
      }
    }
  }

  mutating func open(deviceBytes: UInt64 = deviceSectors * 512) {
    if failure != nil { return }
    while true {
      do throws(UpperOpenError) {
        let header = try Self.header(disk.data.bytes, .header)
        upper = try AppendUpper(
          disk: disk, log: log, header: header, indexHeader: Array(disk.index.bytes.prefix(4096)),
          deviceBytes: deviceBytes, compactionFloor: compactionFloor)
        // Its user was told.
        disk.hasLostData = false
        return
      } catch {
        noteLoss()
        // The fault may have hit the opening itself: the next server tries again, without one.
        if disk.fault == nil {
          failure = "cannot be opened: \(error)"
          return
        }
        disk.restart()
      }
    }
  }

  static func header(_ bytes: [UInt8], _ role: LayerRecord.Role) throws(UpperOpenError) -> LayerRecord {
    do throws(LSMTError) { return try LayerRecord(parsing: bytes.span.bytes, as: role) } catch { throw .layer(error) }
  }

  /// Compares each sector with what it may be, and takes what it is as the only thing from here on.
  mutating func compare(afterPowerLoss: Bool) {
    guard let upper, failure == nil else { return }
    for sector in now.indices {
      let value = Self.value(of: sector, in: upper)
      let allowed = afterPowerLoss ? later[sector] : now[sector]
      guard allowed.contains(value) || afterPowerLoss && tainted.contains(sector) else {
        failure =
          "sector \(sector) is \(value) after a \(afterPowerLoss ? "power loss" : "kill"), may be \(allowed.sorted())"
        return
      }
      now[sector] = [value]
      if afterPowerLoss { later[sector] = [value] }
    }
    if afterPowerLoss {
      tainted = []
      rewritten = []
      isUnflushed = []
    }
  }

  static func value(of sector: Int, in upper: AppendUpper<CrashDisk>) -> UInt64 {
    let piece = upper.index.view.piece(at: UInt64(sector), limit: 1)
    switch piece.kind {
    case .unmapped: return 0
    case .zeroes: return 1
    case .data: return value(of: sector, at: piece.blobSector, in: upper.disk.data.bytes)
    }
  }

  private static func value(of sector: Int, at blobSector: UInt64, in data: [UInt8]) -> UInt64 {
    let start = Int(blobSector) * 512
    return data.withUnsafeBytes { bytes in
      guard start + 512 <= bytes.count else { return .max }
      let first = bytes.loadUnaligned(fromByteOffset: start, as: UInt64.self)
      let version = bytes.loadUnaligned(fromByteOffset: start + 8, as: UInt64.self)
      // The same 16 bytes over and over.
      guard memcmp(bytes.baseAddress! + start, bytes.baseAddress! + start + 16, 512 - 16) == 0 else { return .max }
      if first == 0, version == 0 { return 1 }
      return first == sector ? version : .max
    }
  }

  // MARK: Upstream

  /// Closes the layer, looks at its files with the eyes of overlaybd, and opens it again.
  private mutating func closeAndCheck() {
    guard let upper else { return }
    do throws(Errno) { try upper.close() } catch {
      noteLoss()
      if !disk.isStopped && !disk.hasLostData && disk.fault == nil && disk.capacity == .max {
        failure = "cannot be closed: \(error)"
      }
      return end(losingPower: false)
    }
    noteDurable()
    if let complaint = strictComplaint(data: disk.data.bytes, index: disk.index.bytes) { failure = complaint }
    if log.count > 0 { failure = "\(log.count) entries are pending after the end" }
    let segments = (try? decodedSegments(disk.index.bytes)) ?? []
    for sector in now.indices where failure == nil {
      let segment = segments.last { $0.offset <= sector && sector < $0.end }
      let piece = upper.index.view.piece(at: UInt64(sector), limit: 1)
      let isSame =
        switch piece.kind {
        case .unmapped: segment == nil
        case .zeroes: segment?.isZeroed == true
        case .data:
          segment?.isZeroed == false && segment!.moffset + UInt64(sector) - segment!.offset == piece.blobSector
        }
      if !isSame { failure = "sector \(sector) is another one in the file than in memory" }
    }
    self.upper = nil
    log.format(for: Self.identity)
    open()
    compare(afterPowerLoss: false)
  }
}

/// All entries of an index file in order, without padding.
func decodedSegments(_ index: [UInt8]) throws -> [Segment] { try decodeIndexLog(index.span.bytes).entries }

/// Why overlaybd would not open these files, by the rules of its source; nil when it would.
func strictComplaint(data: [UInt8], index: [UInt8]) -> String? {
  guard data.count >= 4096, index.count >= 4096 else { return "a file has no header" }
  if data.count % 512 != 0 { return "the data file ends within a sector" }
  if (index.count - 4096) % 16 != 0 { return "the index file ends within an entry" }
  guard let header = try? LayerRecord(parsing: index.span.bytes, as: .header), !header.isDataFile,
    !header.isSealed, header.indexOffset == 4096
  else { return "the header of the index file is damaged" }
  let end = UInt64(data.count) / 512
  for position in stride(from: 4096, to: index.count, by: 16) {
    let (word0, word1) = index.withUnsafeBytes {
      (
        $0.loadUnaligned(fromByteOffset: position, as: UInt64.self),
        $0.loadUnaligned(fromByteOffset: position + 8, as: UInt64.self)
      )
    }
    let offset = word0 & ((1 << 50) - 1)
    if offset == (1 << 50) - 1 { continue }
    let length = word0 >> 50
    let first = word1 & ((1 << 55) - 1)
    let isZeroed = word1 >> 55 & 1 == 1
    let last = isZeroed ? first : first + length
    if length == 0 { return "entry at \(position) has no length" }
    if first < 8 || first > end || last > end || !isZeroed && last <= 8 {
      return "entry at \(position) maps \(first)..<\(last), the data ends at \(end)"
    }
  }
  return nil
}
