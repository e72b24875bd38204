#if arch(x86_64)
  import Glibc
  import LSMT
  import Posix
  import TestSupport

  @testable import UpperLayer

  /// A layer whose log is looked at after each single store into it, as a killed process may leave it: the layer is opened
  /// on every such log, and compared with what it may be.
  ///
  /// A store *publishes* when it makes an entry count. That is, in `append`, the count of those appended (byte 192), and in
  /// `extendLast` the first word of the last entry, which has its length. Before it, the entry must wholly not be there;
  /// with it, wholly. No other store changes what the layer has.
  ///
  /// Stores that are no atomic ones may reach the memory in any order between two that are: the compiler chooses. So
  /// random subsets of them are tried too.
  final class PendingStoresRun {
    static let capacity = 256
    /// Words of the header that are stored by themselves: the magic, done, appended, where the index file goes on, its
    /// inode, whether a sync failed, the form of the origin.
    private static let atomics: Set<Int> = [0, 128, 192, 256, 264, 272, 280]

    /// The words of a log, and what each of its stores leaves.
    private struct Step {
      let store: Store
      let isAtomic: Bool
      let publishes: Bool
    }

    private let scratch: Scratch
    private let disk: CrashDisk
    private let memory: UnsafeMutableRawBufferPointer
    let log: PendingLog
    private var upper: AppendUpper<CrashDisk>?
    private var random: SplitMix
    private let compactionFloor: UInt64
    /// By sector: the write that it has, 1 for zeroes, 0 for nothing.
    private var model = [UInt64](repeating: 0, count: Int(CrashRun.deviceSectors))
    private var version: UInt64 = 1
    private(set) var failure: String?
    /// Logs that a layer was opened on, and stores that published.
    private(set) var states = 0
    private(set) var published = 0
    /// Entries that were replayed from those logs, at most.
    private(set) var replayedMax: UInt64 = 0

    init(seed: UInt64) throws {
      random = SplitMix(state: seed)
      scratch = try Scratch(inMemory: true)
      compactionFloor = Bool.random(using: &random) ? 6 : 1 << 20
      let bytes = CrashRun.deviceSectors * 512
      disk = CrashDisk(
        data: LayerRecord(flags: 3, virtualSize: bytes, uuid: CrashRun.uuid).encoded(),
        index: LayerRecord(flags: 1, indexOffset: 4096, virtualSize: bytes, uuid: CrashRun.uuid).encoded(),
        random: random, cutRandom: random)
      let mapping = try MemoryMapping(anonymous: PendingLog.byteCount(capacity: Self.capacity))
      memory = UnsafeMutableRawBufferPointer(start: mapping.base, count: mapping.count)
      log = PendingLog(mapping, capacity: Self.capacity)
      log.format(for: CrashRun.identity)
    }

    func run(steps: Int) throws {
      try open()
      for _ in 0..<steps where failure == nil { try step() }
    }

    private func step() throws {
      guard let upper else { return }
      switch Int.random(in: 0..<100, using: &random) {
      case 0..<55: try write(upper)
      case 55..<70:
        let range = randomRange()
        var zeroed = model
        for sector in range { zeroed[Int(sector)] = 1 }
        // Space would be given back behind the last store.
        try operate("zero", [model, zeroed]) {
          try upper.zero(sector: range.lowerBound, sectors: UInt64(range.count), keepsSpace: true)
        }
      case 70..<82: try flush(upper)
      case 82..<88:
        let name = String(repeating: "x", count: Int.random(in: 1...20, using: &random))
        let file = try Descriptor.open(try scratch.write(name, "x"))
        let origin = PendingLog.Origin(file, path: scratch(name))
        try operate("note", [model]) { log.note(origin) }
      case 88..<91:
        try operate("a failed sync", [model]) { log.noteFailedSync() }
        try operate("a failed sync that is over", [model]) { log.clearFailedSync() }
      default:
        // Killed.
        self.upper = nil
        try open()
      }
    }

    private func randomRange() -> Range<UInt64> {
      let start = UInt64.random(in: 0..<CrashRun.deviceSectors, using: &random)
      return start..<start + min(UInt64.random(in: 1...16, using: &random), CrashRun.deviceSectors - start)
    }

    /// Writes some pieces. Those that follow each other are one entry.
    private func write(_ upper: AppendUpper<CrashDisk>) throws {
      version += 1
      var pieces: [Range<UInt64>] = []
      var models = [model]
      for _ in 0..<Int.random(in: 1...6, using: &random) {
        let follows = pieces.last.map { $0.upperBound < CrashRun.deviceSectors } ?? false
        if follows, Bool.random(using: &random), let last = pieces.last {
          pieces.append(last.upperBound..<min(CrashRun.deviceSectors, last.upperBound + 4))
        } else {
          pieces.append(randomRange())
          if pieces.count == 1 || pieces[pieces.count - 2].upperBound != pieces[pieces.count - 1].lowerBound {
            models.append(models[models.count - 1])
          }
        }
        for sector in pieces[pieces.count - 1] { models[models.count - 1][Int(sector)] = version }
      }
      let content = pieces.map { ($0.lowerBound, sectorsBytes($0.lowerBound, UInt64($0.count), version)) }
      try withWrites(content) { pieces in try operate("write", models) { try upper.write(pieces) } }
    }

    /// Flushes; often somebody writes meanwhile, which the flush does not cover.
    private func flush(_ upper: AppendUpper<CrashDisk>) throws {
      let room = UInt64(16 * Segment.size)
      let hasRoom =
        log.count + 16 <= log.capacity
        && upper.reservedEnd - upper.indexEnd >= log.count * UInt64(Segment.size) + room
      // Without entries it need not synchronize.
      guard hasRoom, log.count > 0, Bool.random(using: &random) else {
        return try operate("flush", [model]) { try upper.flush() }
      }
      version += 1
      let range = randomRange()
      var after = model
      for sector in range { after[Int(sector)] = version }
      let content = [(range.lowerBound, sectorsBytes(range.lowerBound, UInt64(range.count), version))]
      try withWrites(content) { pieces in
        disk.duringSync = { try? upper.write(pieces) }
        defer { disk.duringSync = nil }
        try operate("flush beside a write", [model, after]) { try upper.flush() }
      }
    }

    private func open() throws {
      var opened: AppendUpper<CrashDisk>?
      try operate("open", [model]) { opened = try Self.open(disk, log, compactionFloor) }
      upper = opened
    }

    private static func open(
      _ disk: CrashDisk, _ log: PendingLog, _ compactionFloor: UInt64
    ) throws(UpperOpenError) -> AppendUpper<CrashDisk> {
      try AppendUpper(
        disk: disk, log: log, header: try CrashRun.header(disk.data.bytes, .header),
        indexHeader: Array(disk.index.bytes.prefix(4096)), deviceBytes: CrashRun.deviceSectors * 512,
        compactionFloor: compactionFloor)
    }

    // MARK: Stores

    /// Does something to the log, and looks at all that it may be meanwhile. `models` is what the layer has after none, one,
    /// two… of the stores that publish.
    ///
    /// The disk is looked at as it is afterwards: a write has written its data before it stores anything, and a flush its
    /// entries.
    private func operate(_ name: String, _ models: [[UInt64]], _ body: () throws -> Void) throws {
      let origin = log.origin
      var image = Image(Array(memory))
      let stores = try StoreRecorder.record(memory, body)
      // A note that was not finished leaves none; nothing else changes it.
      let allowed = name == "note" ? [origin, nil, log.origin] : [origin]
      var steps: [Step] = []
      do {
        var image = image
        for store in stores {
          steps.append(
            Step(store: store, isAtomic: isAtomic(store, of: image), publishes: Self.publishes(store, of: image)))
          image.apply(store)
        }
      }
      var count = 0
      try look(image, models[0], allowed, "before \(name)")
      for (place, step) in steps.enumerated() {
        if place == 0 || steps[place - 1].isAtomic {
          try lookAtSubsets(of: steps[place...].prefix { !$0.isAtomic }, image, models[count], allowed, name)
        }
        image.apply(step.store)
        if step.publishes { count += 1 }
        if count == models.count { return fail("\(name) publishes more than \(models.count - 1) times") }
        try look(image, models[count], allowed, "after store \(place) of \(stores.count) of \(name)")
      }
      if count != models.count - 1 { fail("\(name) publishes \(count) times of \(models.count - 1)") }
      published += count
      model = models[models.count - 1]
    }

    /// Makes the log that of this layer where another boot has left one, and looks at all that it may be meanwhile.
    func reset(from former: PendingLog.Identity) throws {
      try upper?.flush()
      upper = nil
      // Its entries would map sectors that this layer has, and one that it does not have.
      log.format(for: former)
      for sector in stride(from: UInt64(0), to: CrashRun.deviceSectors, by: 8) {
        log.append(Segment(offset: sector, length: 8, moffset: 8))
      }
      var image = Image(Array(memory))
      let stores = StoreRecorder.record(memory) { log.format(for: CrashRun.identity) }
      // Nothing is atomic but the magic, at the end.
      let steps = stores.map {
        Step(store: $0, isAtomic: $0.offset == 0 && $0.word != 0, publishes: false)
      }
      try look(image, model, [nil], "before a reset")
      for (place, step) in steps.enumerated() {
        if place % 16 == 0 {
          try lookAtSubsets(of: steps[place...].prefix { !$0.isAtomic }, image, model, [nil], "a reset")
        }
        image.apply(step.store)
        try look(image, model, [nil], "after store \(place) of \(stores.count) of a reset")
      }
      if stores.count < 16 { fail("a reset is \(stores.count) stores") }
    }

    private func isAtomic(_ store: Store, of image: Image) -> Bool {
      // It shares its word with the length of the path.
      if store.offset == 280 { return UInt32(truncatingIfNeeded: store.word ^ image[280]) != 0 }
      return Self.atomics.contains(store.offset) || Self.publishes(store, of: image)
    }

    private static func publishes(_ store: Store, of image: Image) -> Bool {
      if store.offset == 192 { return true }
      let last = (image[192] &- 1) % UInt64(capacity)
      return image[192] > 0 && store.offset == PendingLog.headerBytes + Int(last) * Segment.size
    }

    private func lookAtSubsets(
      of steps: ArraySlice<Step>, _ image: Image, _ expected: [UInt64], _ origins: [PendingLog.Origin?], _ name: String
    ) throws {
      if steps.count < 2 { return }
      for _ in 0..<2 {
        var mixed = image
        for step in steps where Bool.random(using: &random) { mixed.apply(step.store) }
        try look(mixed, expected, origins, "after some of \(steps.count) stores of \(name)")
      }
    }

    // MARK: What is left

    /// Opens the layer on a log that a killed process may have left, and compares.
    private func look(
      _ image: Image, _ expected: [UInt64], _ origins: [PendingLog.Origin?], _ when: String
    ) throws {
      if failure != nil { return }
      states += 1
      let disk = disk.copy
      let path = PendingLog.path(in: scratch.path, CrashRun.identity)
      try scratch.write(String(path.dropFirst(scratch.path.utf8.count + 1)), image.bytes)
      let (left, _, _) = try PendingLog.open(folder: scratch.path, for: CrashRun.identity, capacity: Self.capacity)
      if !origins.contains(left.origin) { return fail("\(when): the origin is neither the old nor the new one") }
      let upper = try Self.open(disk, left, compactionFloor)
      replayedMax = max(replayedMax, upper.report.replayedEntries)
      let report = upper.report
      if report.foreignEntries + report.voidEntries + report.cutEntries + report.blankEntries > 0 {
        return fail("\(when): \(report.lines)")
      }
      compare(upper, expected, when)
      if failure != nil || Int.random(in: 0..<4, using: &random) > 0 { return }
      // It goes on: what comes next is behind all that.
      var after = expected
      after[0] = .max - 1
      try withWrites([(0, sectorsBytes(0, 1, .max - 1))]) { try upper.write($0) }
      if Bool.random(using: &random) { try upper.flush() }
      compare(try Self.open(disk, left, compactionFloor), after, "\(when), after another write and another kill")
    }

    private func compare(_ upper: AppendUpper<CrashDisk>, _ expected: [UInt64], _ when: String) {
      for sector in expected.indices {
        let value = CrashRun.value(of: sector, in: upper)
        if value != expected[sector] { return fail("\(when): sector \(sector) is \(value), not \(expected[sector])") }
      }
    }

    private func fail(_ what: String) { if failure == nil { failure = what } }
  }

  /// The bytes of a log.
  private struct Image {
    private(set) var bytes: [UInt8]

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    subscript(offset: Int) -> UInt64 {
      bytes.withUnsafeBytes { $0.load(fromByteOffset: offset, as: UInt64.self) }
    }

    mutating func apply(_ store: Store) {
      bytes.withUnsafeMutableBytes { $0.storeBytes(of: store.word, toByteOffset: store.offset, as: UInt64.self) }
    }
  }
#endif
