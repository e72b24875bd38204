import Glibc
import LSMT
import Posix
import TestSupport

@testable import UpperLayer

/// A sparse layer on a ``SparseDisk`` over layers below, and what each sector may be by the rules of durability.
///
/// A sector's value is 1 where it is zeroes, else the number of the write that it has; what is below has number
/// ``below``; `.max` is a mix. `now` is what a read may give, `later` what it may give after a power loss.
final class SparseRun: @unchecked Sendable {
  private static let below: UInt64 = 1 << 40

  let disk: SparseDisk
  private var deviceSectors: Int
  private var upper: SparseUpper<SparseDisk>?
  private var random: SplitMix
  private let fillsUp: Bool
  /// Sectors that layers below have, and how many of them their disk shows.
  private let stored: [Bool]
  private let shownEnd: Int

  private var now: [Set<UInt64>]
  private var later: [Set<UInt64>]
  private var version: UInt64 = 1
  private(set) var failure: String?
  private(set) var powerCuts = 0
  private(set) var kills = 0
  /// Writes that brought along what is below, and of them those that another write came into.
  private(set) var copies = 0
  private(set) var meetings = 0
  /// What another thread writes while the layers below are read: the rest of the block.
  private var current: [Range<Int>] = []

  private static let sectorsMax = 160

  init(seed: UInt64, variant: UInt64 = 0) {
    random = SplitMix(state: seed)
    deviceSectors = Int.random(in: 100...Self.sectorsMax, using: &random)
    fillsUp = Int.random(in: 0..<3, using: &random) == 0
    var stored: [Bool] = []
    while stored.count < Self.sectorsMax {
      let isStored = Bool.random(using: &random)
      stored += Array(repeating: isStored, count: Int.random(in: 1...30, using: &random))
    }
    self.stored = stored
    shownEnd = Bool.random(using: &random) ? deviceSectors : Int.random(in: 1..<deviceSectors, using: &random)
    let header = LayerRecord(flags: 0x13, virtualSize: UInt64(deviceSectors) * 512, uuid: testUUID)
    disk = SparseDisk(
      header.encoded(), size: 4096 + deviceSectors * 512, random: random,
      cutRandom: SplitMix(state: seed &+ variant &* 0x1000_0001))
    now = (0..<deviceSectors).map { [stored[$0] ? Self.below : 1] }
    later = now
  }

  /// Runs `steps` operations; at operation `fault.at` of the disk something goes wrong. Then the machine or the process
  /// ends, and the layer is opened and compared.
  func run(steps: Int, fault: (at: Int, kind: FaultyDisk.Fault)?, losesPower: Bool) {
    prepare()
    if let fault { disk.fault = (fault.at + disk.operations, fault.kind) }
    for _ in 0..<steps where failure == nil {
      if disk.isStopped { end(losingPower: losesPower) }
      step()
    }
    if failure == nil { end(losingPower: losesPower) }
    if failure == nil { end(losingPower: false) }
  }

  /// Opens the layer and hides what is stored below beyond what is shown, as whoever makes one does.
  private func prepare() {
    open()
    for sector in shownEnd..<deviceSectors where stored[sector] {
      do throws(Errno) {
        try upper?.zero(sector: UInt64(sector), sectors: 1, keepsSpace: true)
        acknowledge(sector, 1)
      } catch { failure = "cannot hide: \(error)" }
    }
    flush()
  }

  // MARK: Below

  private var lowers: LowerLayers {
    let stored = stored
    @Sendable func first(_ sectors: Range<UInt64>, _ end: Int) -> Range<UInt64>? {
      let range = Int(sectors.lowerBound)..<max(Int(sectors.lowerBound), min(Int(sectors.upperBound), end))
      guard let start = range.first(where: { stored[$0] }) else { return nil }
      return UInt64(start)..<UInt64(range[start...].first { !stored[$0] } ?? range.upperBound)
    }
    let shownEnd = shownEnd
    return LowerLayers(
      shown: { first($0, shownEnd) }, stored: { first($0, stored.count) },
      read: { [unowned self] sector, buffer throws(Errno) in
        for place in 0..<buffer.count / 512 {
          let number = Int(sector) + place
          let content =
            number < shownEnd && stored[number]
            ? sectorBytes(UInt64(number), Self.below) : [UInt8](repeating: 0, count: 512)
          UnsafeMutableRawBufferPointer(rebasing: buffer[place * 512..<place * 512 + 512]).copyBytes(from: content)
        }
        copies += 1
        meet(Int(sector)..<Int(sector) + buffer.count / 512)
      })
  }

  /// Another thread writes sectors that are being read below, and that the writer who reads them does not write.
  private func meet(_ sectors: Range<Int>) {
    guard let upper, Bool.random(using: &random) else { return }
    let range = sectors.clamped(to: 0..<deviceSectors)
    if range.isEmpty || current.contains(where: { $0.overlaps(range) }) { return }
    let outer = current
    current = [range]
    defer { current = outer }
    version += 1
    let number = version
    if put(upper, [range], number, mayWait: true) != nil {
      for sector in range { attempt(sector, number) }
    } else {
      meetings += 1
      for sector in range { acknowledge(sector, number) }
    }
  }

  // MARK: Steps

  private func step() {
    switch Int.random(in: 0..<100, using: &random) {
    case 0..<50: write()
    case 50..<70: zero()
    case 70..<84: flush()
    case 84..<90: end(losingPower: Bool.random(using: &random))
    case 90..<94: close()
    case 94..<97: if disk.fault == nil { resize() }
    default:
      if fillsUp {
        disk.capacity =
          disk.capacity == .max
          ? Int((try? disk.allocatedDataBytes()) ?? 0) / 4096 + Int.random(in: 0..<4, using: &random) : .max
      }
    }
  }

  private func randomRange() -> Range<Int> {
    let start = Int.random(in: 0..<deviceSectors, using: &random)
    return start..<min(deviceSectors, start + Int.random(in: 1...20, using: &random))
  }

  private func write() {
    guard let upper else { return }
    version += 1
    let number = version
    var ranges: [Range<Int>] = []
    for _ in 0..<Int.random(in: 1...3, using: &random) { ranges.append(randomRange()) }
    // Of what comes in between, and is not in it, each sector is its own.
    current = ranges
    let before = disk.operations
    var error = put(upper, ranges, number, mayWait: false)
    if error == .again {
      if disk.operations != before { failure = "a write that cannot be done now has done something" }
      error = put(upper, ranges, number, mayWait: true)
    }
    current = []
    for sector in ranges.joined() { error == nil ? acknowledge(sector, number) : attempt(sector, number) }
    if error != nil { look() }
  }

  private func put(
    _ upper: SparseUpper<SparseDisk>, _ ranges: [Range<Int>], _ version: UInt64, mayWait: Bool
  ) -> Errno? {
    let buffers = ranges.map { range in
      let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: range.count * 512, alignment: 16)
      buffer.copyBytes(from: sectorsBytes(UInt64(range.lowerBound), UInt64(range.count), version))
      return buffer
    }
    defer { buffers.forEach { $0.deallocate() } }
    let pieces = zip(ranges, buffers).map { UpperWrite(sector: UInt64($0.lowerBound), bytes: .init($1)) }
    return pieces.withUnsafeBufferPointer { pieces in
      do throws(Errno) {
        try upper.write(pieces, mayWait: mayWait)
        return nil
      } catch { return error }
    }
  }

  private func zero() {
    guard let upper else { return }
    let range = randomRange()
    current = [range]
    defer { current = [] }
    do throws(Errno) {
      try upper.zero(
        sector: UInt64(range.lowerBound), sectors: UInt64(range.count), keepsSpace: Bool.random(using: &random))
      for sector in range { acknowledge(sector, 1) }
    } catch {
      for sector in range { attempt(sector, 1) }
      look()
    }
  }

  private func flush() {
    guard let upper else { return }
    do throws(Errno) {
      let isDone = Bool.random(using: &random) ? try upper.flushNow() : false
      if !isDone { try upper.flush() }
      if disk.hasLostData { failure = "a flush succeeded after data was lost" }
      later = now
    } catch {}
  }

  private func resize() {
    guard let upper else { return }
    let count = Int.random(in: 1...Self.sectorsMax, using: &random)
    do throws(UpperChangeError) {
      try upper.resize(to: UInt64(count) * 512)
      now = (0..<count).map { $0 < deviceSectors ? now[$0] : [1] }
      // It synchronizes.
      later = now
      deviceSectors = count
    } catch {
      // A full disk has no room for what is to be hidden: it has the size that it had.
      if disk.capacity == .max { failure = "cannot be resized: \(error)" }
    }
  }

  private func acknowledge(_ sector: Int, _ value: UInt64) {
    now[sector] = [value]
    later[sector].insert(value)
  }

  private func attempt(_ sector: Int, _ value: UInt64) {
    now[sector].insert(value)
    later[sector].insert(value)
  }

  // MARK: Ends

  private func end(losingPower: Bool) {
    upper = nil
    // What the kernel has said of lost data is said once, and its rest is anybody's guess.
    let isKnown = losingPower || !disk.hasLostData
    if losingPower {
      powerCuts += 1
      disk.cut()
    } else {
      kills += 1
      disk.restart()
    }
    disk.capacity = .max
    open()
    if isKnown { compare(afterPowerLoss: losingPower) }
  }

  private func close() {
    guard let upper else { return }
    do throws(Errno) { try upper.close() } catch { return end(losingPower: false) }
    later = now
    self.upper = nil
    open()
    compare(afterPowerLoss: false)
  }

  private func open() {
    while failure == nil {
      do throws(UpperOpenError) {
        let header = try Self.record(Array(disk.bytes.prefix(4096)), .header)
        upper = try SparseUpper(disk: disk, header: header, deviceBytes: header.virtualSize, lowers: lowers)
        return
      } catch {
        // The fault may have hit the opening itself: the next server tries again, without one.
        if disk.fault == nil { failure = "cannot be opened: \(error)" }
        disk.restart()
      }
    }
  }

  private static func record(_ bytes: [UInt8], _ role: LayerRecord.Role) throws(UpperOpenError) -> LayerRecord {
    do throws(LSMTError) { return try LayerRecord(parsing: bytes.span.bytes, as: role) } catch { throw .layer(error) }
  }

  /// What is there now, after something failed, does not change by itself.
  private func look() {
    if !disk.isStopped, !disk.hasLostData { compare(afterPowerLoss: false) }
  }

  private func compare(afterPowerLoss: Bool) {
    guard let upper, failure == nil else { return }
    if upper.deviceSectors != deviceSectors { failure = "has \(upper.deviceSectors) sectors, not \(deviceSectors)" }
    let bytes = disk.bytes
    for sector in now.indices where failure == nil {
      let piece = upper.index.view.piece(at: UInt64(sector), limit: 1)
      check(sector, piece.kind == .unmapped ? nil : piece.blobSector, bytes, afterPowerLoss)
    }
  }

  private func check(_ sector: Int, _ blobSector: UInt64?, _ bytes: [UInt8], _ afterPowerLoss: Bool) {
    let value = value(of: sector, at: blobSector, in: bytes)
    let allowed = afterPowerLoss ? later[sector] : now[sector]
    guard allowed.contains(value) else {
      failure =
        "sector \(sector) is \(value) after a \(afterPowerLoss ? "power loss" : "kill"), may be \(allowed.sorted())"
      return
    }
    now[sector] = [value]
    if afterPowerLoss { later[sector] = [value] }
  }

  private func value(of sector: Int, at blobSector: UInt64?, in bytes: [UInt8]) -> UInt64 {
    guard let blobSector else { return stored[sector] ? Self.below : 1 }
    if blobSector != UInt64(sector) + 8 { return .max }
    let content = Array(bytes[Int(blobSector) * 512..<Int(blobSector) * 512 + 512])
    if content.allSatisfy({ $0 == 0 }) { return 1 }
    let version = content.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: 8, as: UInt64.self) }
    return content == sectorBytes(UInt64(sector), version) ? version : .max
  }

  // MARK: Sealing

  /// Seals the layer after some steps with something going wrong, then ends the machine or the process, and compares what
  /// is there, sealed or not. Whether it is sealed.
  func seal(fault: (at: Int, kind: FaultyDisk.Fault), losesPower: Bool) -> Bool {
    prepare()
    for _ in 0..<12 where failure == nil { step() }
    disk.capacity = .max
    guard let sealing = upper, failure == nil else { return false }
    disk.fault = (disk.operations + fault.at, fault.kind)
    do throws(UpperChangeError) {
      try sealing.seal()
      later = now
    } catch {
      if !disk.isStopped, !disk.hasLostData {
        disk.fault = nil
        // It is as it was: takes writes, and a flush.
        write()
        flush()
      }
    }
    let isKnown = losesPower || !disk.hasLostData
    upper = nil
    if losesPower { disk.cut() } else { disk.restart() }
    let bytes = disk.bytes
    let end = 4096 + deviceSectors * 512
    guard let trailer = try? Self.record(Array(bytes.suffix(4096)), .trailer), trailer.isSealed,
      trailer.indexOffset >= UInt64(end)
    else {
      open()
      if isKnown { compare(afterPowerLoss: losesPower) }
      return false
    }
    if trailer.flags != 0x16 || trailer.virtualSize != UInt64(deviceSectors) * 512 { failure = "a wrong trailer" }
    do {
      let index = try SealedIndex(trailer: trailer, layerSize: UInt64(bytes.count))
      let start = Int(index.byteOffset)
      let segments = try index.decode(bytes.span.bytes.extracting(start..<start + index.byteCount))
      for sector in now.indices where failure == nil {
        let segment = segments.last { $0.offset <= sector && sector < $0.end }
        check(sector, segment.map { $0.moffset + UInt64(sector) - $0.offset }, bytes, losesPower)
      }
    } catch { failure = "sealed, and cannot be opened: \(error)" }
    return true
  }
}
