import Glibc
import LSMT
import Posix
import Synchronization

/// A writable layer whose sectors have fixed places in a sparse file: device sector s is blob sector 8 + s.
///
/// What the file has allocated is what the layer maps, and nothing else says so: opening asks for it (`SEEK_DATA`). So a
/// write to a part of a block that is not allocated yet brings the rest of the block along, from the layers below, in the
/// same `pwrite`; and a block is only given back where nothing is below.
///
/// In memory a sector that is mapped stays mapped: where the file has a hole since, it reads as zeroes, which is what is
/// there. So a write to sectors that are mapped is one `pwrite`, without a lock.
final class SparseUpper<Disk: UpperDisk>: @unchecked Sendable {
  /// Sectors of a block of the host's file system, which is no larger. Device and file are aligned to each other, because
  /// the header has 4096 bytes.
  static var blockSectors: UInt64 { 8 }
  static var blockBytes: Int { 4096 }
  private static var nothing: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: nil, count: 0) }

  let disk: Disk
  let index: UpperIndex
  /// As in the file; ``LayerRecord/virtualSize`` may be out of date.
  let header: LayerRecord
  let report: RecoveryReport
  let deviceBytes: Atomic<UInt64>
  let lowers: LowerLayers?

  /// Who is writing.
  let passage = Passage()
  /// What those get who begin to write, an error number; 0 for nothing.
  let refusal = Atomic<Int32>(0)
  /// Whether something was written since the last sync began.
  let needsSync = Atomic<Bool>(true)

  /// Held while sectors get allocated and mapped.
  let commit = Gate()
  /// Held by who synchronizes, seals or changes the size.
  let turn = Gate()
  /// Under `turn`.
  var isPoisoned = false

  /// Brings the file to its size and looks what it has. `header` was checked.
  init(disk: Disk, header: LayerRecord, deviceBytes: UInt64, lowers: LowerLayers?) throws(UpperOpenError) {
    self.disk = disk
    self.header = header
    self.lowers = lowers
    self.deviceBytes = Atomic(deviceBytes)
    let sector = UInt64(sectorSize)
    let sectors = (deviceBytes + sector - 1) / sector
    do throws(LSMTError) { index = try UpperIndex(deviceSectors: sectors) } catch { throw .layer(error) }
    do throws(Errno) {
      var report = RecoveryReport()
      let size = try disk.dataSize()
      let wanted = UInt64(LayerRecord.size) + deviceBytes
      if size != wanted {
        // The end of a sealing or of another size that was not finished. A new file has its header only.
        report.hadOtherLength = size > UInt64(LayerRecord.size)
        try disk.resizeData(to: wanted)
      }
      self.report = report
      var position = UInt64(LayerRecord.size)
      while let data = try disk.nextData(from: position) {
        let first = max(data.lowerBound, UInt64(LayerRecord.size)) / sector - LayerWriter.firstDataSector
        let end = min((data.upperBound + sector - 1) / sector - LayerWriter.firstDataSector, sectors)
        if first >= end { break }
        map(first..<end)
        position = data.upperBound
      }
    } catch { throw .system(error) }
  }

  /// Sectors of the device.
  var deviceSectors: UInt64 { deviceBytes.load(ordering: .acquiring) / UInt64(sectorSize) }

  /// Where the device ends: the sector after the last one, of which it may have a part only.
  var deviceEnd: UInt64 {
    (deviceBytes.load(ordering: .acquiring) &+ UInt64(sectorSize) &- 1) / UInt64(sectorSize)
  }

  // MARK: Writing

  /// HOT: see ``Upper/write(_:mayWait:)``.
  func write(_ pieces: UnsafeBufferPointer<UpperWrite>, mayWait: Bool) throws(Errno) {
    let device = deviceSectors
    for piece in pieces {
      guard piece.isWhole, piece.sectors <= device, piece.sector <= device &- piece.sectors else {
        throw .invalidArgument
      }
      // Before anything is written.
      if !mayWait, needsLowers(piece.sector, piece.sector &+ piece.sectors) { throw .again }
    }
    try entering { () throws(Errno) in
      for piece in pieces where piece.bytes.count > 0 { try write(piece.sector, piece.bytes) }
    }
  }

  /// Runs `body` while nobody seals the layer, if nobody has.
  @inline(__always)
  func entering(_ body: () throws(Errno) -> Void) throws(Errno) {
    let ticket = passage.enter()
    defer { passage.leave(ticket) }
    let refused = refusal.load(ordering: .sequentiallyConsistent)
    if refused != 0 { throw Errno(rawValue: refused) }
    // After what was written and before anybody hears of it, also of a part.
    defer { needsSync.store(true, ordering: .sequentiallyConsistent) }
    try body()
  }

  /// Writes one run of sectors, whoever writes beside it.
  func write(_ sector: UInt64, _ bytes: UnsafeRawBufferPointer) throws(Errno) {
    let end = sector &+ UInt64(UInt(bitPattern: bytes.count)) / UInt64(sectorSize)
    if isMapped(sector, end) {
      var written = 0
      return try put(sector, Self.nothing, bytes, Self.nothing, &written)
    }
    if needsLowers(sector, end) { return try copyUp(sector, end, bytes) }
    commit.lock()
    defer { commit.unlock() }
    // Of the blocks at both ends the rest is a hole, and nothing is below.
    let whole = allocated(sector, end)
    try putAndMap(sector, Self.nothing, bytes, Self.nothing, mapping: whole)
  }

  /// Writes a run and, of the blocks at its ends, what the layers below show.
  @inline(never)
  private func copyUp(_ sector: UInt64, _ end: UInt64, _ bytes: UnsafeRawBufferPointer) throws(Errno) {
    var rest = allocated(sector, end)
    let error = withUnsafeTemporaryAllocation(byteCount: 2 * Self.blockBytes, alignment: 16) { memory -> Errno? in
      let size = UInt64(sectorSize)
      let head = UnsafeMutableRawBufferPointer(rebasing: memory[..<Int((sector - rest.lowerBound) * size)])
      let tail = UnsafeMutableRawBufferPointer(
        rebasing: memory[Self.blockBytes..<Self.blockBytes + Int((rest.upperBound - end) * size)])
      do throws(Errno) {
        // They never change, so this needs no lock.
        if !head.isEmpty { try lowers?.read(rest.lowerBound, head) }
        if !tail.isEmpty { try lowers?.read(end, tail) }
        commit.lock()
        defer { commit.unlock() }
        // Somebody may have been here meanwhile: what is mapped by now stays as it is.
        let now = allocated(sector, end)
        let skipped = Int((now.lowerBound - rest.lowerBound) * size)
        let kept = Int((now.upperBound - end) * size)
        rest = now
        try putAndMap(
          sector, UnsafeRawBufferPointer(rebasing: head[skipped...]), bytes,
          UnsafeRawBufferPointer(rebasing: tail[..<kept]), mapping: now)
        return nil
      } catch { return error }
    }
    if let error { throw error }
  }

  /// Writes a run with what is before and behind it, and maps `sectors`, with the lock held. Of a write that fails what
  /// was written is mapped: the file has it.
  private func putAndMap(
    _ sector: UInt64, _ head: UnsafeRawBufferPointer, _ bytes: UnsafeRawBufferPointer, _ tail: UnsafeRawBufferPointer,
    mapping sectors: Range<UInt64>
  ) throws(Errno) {
    var written = 0
    do throws(Errno) {
      try put(sector, head, bytes, tail, &written)
      map(sectors)
    } catch {
      let reached = sector - UInt64(head.count / sectorSize) + UInt64(written / sectorSize)
      // The page cache takes a page whole or not at all.
      let end = reached / Self.blockSectors * Self.blockSectors
      if written > 0, end > sectors.lowerBound { map(sectors.lowerBound..<min(end, sectors.upperBound)) }
      let failed = max(end, sectors.lowerBound) / Self.blockSectors * Self.blockSectors
      makeHoles(in: max(failed, sectors.lowerBound)..<min(failed + Self.blockSectors, sectors.upperBound))
      throw error
    }
  }

  /// Makes sectors of one block holes unless they are mapped, with the lock held. Where a page has several blocks, and the
  /// disk has room for some of them, these may have become zeroes when the page could not be written.
  private func makeHoles(in sectors: Range<UInt64>) {
    var next = sectors.lowerBound
    while next < sectors.upperBound {
      let piece = index.view.piece(at: next, limit: sectors.upperBound - next)
      if piece.kind == .unmapped {
        let size = UInt64(sectorSize)
        var end = next + piece.sectors
        // The last block may be cut by the device's end.
        if end == deviceEnd { end = (end + Self.blockSectors - 1) / Self.blockSectors * Self.blockSectors }
        try? disk.punchData(at: UInt64(LayerRecord.size) + next * size, count: (end - next) * size)
      }
      next += piece.sectors
    }
  }

  /// One `pwritev`, whose short writes go on. `written` is how far it came.
  private func put(
    _ sector: UInt64, _ head: UnsafeRawBufferPointer, _ bytes: UnsafeRawBufferPointer, _ tail: UnsafeRawBufferPointer,
    _ written: inout Int
  ) throws(Errno) {
    let start = UInt64(LayerRecord.size) &+ sector &* UInt64(sectorSize) &- UInt64(head.count)
    let total = head.count &+ bytes.count &+ tail.count
    while written < total {
      let done = written
      let result = withUnsafeTemporaryAllocation(of: iovec.self, capacity: 3) { vectors -> Result<Int, Errno> in
        var skipped = done
        var count = 0
        func add(_ part: UnsafeRawBufferPointer) {
          let skip = min(skipped, part.count)
          skipped &-= skip
          if skip == part.count { return }
          vectors[count] = iovec(
            iov_base: UnsafeMutableRawPointer(mutating: part.baseAddress! + skip), iov_len: part.count &- skip)
          count &+= 1
        }
        add(head)
        add(bytes)
        add(tail)
        do throws(Errno) {
          return .success(
            try disk.writeData(UnsafeBufferPointer(rebasing: vectors[..<count]), at: start &+ UInt64(done)))
        } catch { return .failure(error) }
      }
      do throws(Errno) {
        let count = try result.get()
        // Nothing written and no error: it would be tried for ever.
        if count <= 0 { throw .ioError }
        written &+= count
      } catch {
        if error != .interrupted { throw error }
      }
    }
  }

  // MARK: What is mapped

  /// Whether all of some sectors are mapped.
  @inline(__always)
  func isMapped(_ sector: UInt64, _ end: UInt64) -> Bool {
    let view = index.view
    var next = sector
    while next < end {
      let piece = view.piece(at: next, limit: end &- next)
      if piece.kind == .unmapped { return false }
      next &+= piece.sectors
    }
    return true
  }

  /// Sectors that a write allocates: its own, and at both ends those of the same block that are not mapped. Where the host's
  /// blocks are smaller than ours, a part of one can be mapped, and that part ends with a block of the host's.
  func allocated(_ sector: UInt64, _ end: UInt64) -> Range<UInt64> {
    var first = sector
    let floor = sector / Self.blockSectors * Self.blockSectors
    if !isMapped(sector, sector &+ 1) { while first > floor, !isMapped(first &- 1, first) { first &-= 1 } }
    var last = end
    let ceiling = min((end &+ Self.blockSectors &- 1) / Self.blockSectors * Self.blockSectors, deviceEnd)
    if !isMapped(end &- 1, end) { while last < ceiling, !isMapped(last, last &+ 1) { last &+= 1 } }
    return first..<last
  }

  /// Whether a write to some sectors has to bring along what is below.
  @inline(__always)
  func needsLowers(_ sector: UInt64, _ end: UInt64) -> Bool {
    guard let lowers, sector < end else { return false }
    if sector % Self.blockSectors == 0, end % Self.blockSectors == 0 || end == deviceEnd { return false }
    let rest = allocated(sector, end)
    return rest.lowerBound < sector && lowers.shown(rest.lowerBound..<sector) != nil
      || end < rest.upperBound && lowers.shown(end..<rest.upperBound) != nil
  }

  /// Maps sectors to their places, with the lock held.
  func map(_ sectors: Range<UInt64>) {
    var next = sectors.lowerBound
    while next < sectors.upperBound {
      let length = min(sectors.upperBound - next, Segment.maxLength)
      index.insert(
        Segment(offset: next, length: UInt32(length), moffset: next + LayerWriter.firstDataSector),
        freed: { _, _ in })
      next += length
    }
  }
}
