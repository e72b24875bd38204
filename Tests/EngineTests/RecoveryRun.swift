import Glibc
import LSMT
import Posix
import TestSupport
import Testing
import Ublk

@testable import Device
@testable import UpperLayer

/// A writable device whose servers are killed one after the other, in the middle of random requests; each time another one
/// takes over, and the kernel hands out again what was not answered.
final class RecoveryRun: @unchecked Sendable {
  struct Wish {
    var kind = UpperFiles.Kind.append
    var queues = 1
    var deaths = 12
    /// Of each queue, all its servers together.
    var requests = 160
    /// Whether operations of the disk fail besides.
    var hasErrors = false
  }

  /// A layer that is open, as ``Upper`` or on a ``MortalDisk``.
  private struct Opened {
    let served: any ServedUpper
    let index: UpperIndex
    let descriptor: Int32
    let replayedEntries: UInt64
    var disk: MortalDisk?
  }

  private static let sectors = 512

  /// Servers that died, those of them that were not open yet, and entries that the next one replayed.
  private(set) var deaths = 0
  private(set) var deathsInOpening = 0
  private(set) var replayedEntries: UInt64 = 0
  /// Servers whose disk did something wrong.
  private(set) var faults = 0
  private(set) var transports: [FakeTransport] = []
  private let seed: UInt64
  private let wish: Wish
  private let folder: Scratch
  private let files: UpperFiles
  private let stack: TestStack
  private let clock = FakeTransport.Clock()
  private var random: SeededRandom
  /// Of the pending log: with the standard one `Upper.open` opens the layer now and then.
  private let capacity: Int
  private let compactionFloor: UInt64
  private let depths: [Int]
  private var failure: String?

  init(_ seed: UInt64, _ wish: Wish = Wish()) throws {
    self.seed = seed
    self.wish = wish
    folder = try Scratch(inMemory: true)
    var random = SeededRandom(seed)
    stack = try TestStack(&random, layers: Int.random(in: 0...2, using: &random), sectors: Self.sectors)
    capacity = random.chance(2) ? PendingLog.standardCapacity : 128
    compactionFloor = random.chance(2) ? 6 : 1 << 20
    depths = (0..<wish.queues).map { _ in [1, 2, 7, 16].randomElement(using: &random)! }
    files = UpperFiles(data: folder("data"), index: folder("index"))
    try UpperFiles.create(
      data: files.data, index: files.index, kind: wish.kind, virtualSize: UInt64(Self.sectors) * 512,
      uuid: LayerUUID(bytes: [UInt8](1...16))!, parentUUID: .null)
    // In some runs all requests overlap.
    let span = random.chance(4) ? 24 : Self.sectors
    let areShort = random.chance(2)
    for number in 0..<wish.queues {
      let requests = (0..<wish.requests).map { _ in
        Request.random(sectors: span, areShort: areShort, operations: [0, 0, 1, 1, 1, 1, 2, 3, 5], &random)
      }
      let pages = try RequestPages(depth: 1, requestBytesMax: DeviceOptions.requestBytesMax)
      transports.append(
        FakeTransport(
          memory: pages.view, dataPath: .copy, files: stack.files, remotes: stack.remotes, requests: requests,
          faults: .init(), random: SeededRandom(random.next()), clock: clock, firstTicket: number * 100_000))
    }
    self.random = random
    for _ in 0..<wish.deaths where failure == nil { try live(instants: instants()) }
    if failure == nil { try live(instants: .max) }
    if failure == nil { try finish() }
    if let failure { Issue.record("WARMBLK_SEED=\(seed): \(failure)") }
  }

  /// Often it dies soon.
  private func instants() -> Int { Int.random(in: 0..<(random.chance(4) ? 8 : 120), using: &random) }

  // MARK: One server

  private func live(instants: Int) throws {
    let life = ServerLife(threads: wish.queues, instants: instants, random: SeededRandom(random.next()))
    let isLast = instants == .max
    defer { if !isLast { deaths += 1 } }
    guard let opened = try open(life, isLast) else { return }
    replayedEntries += opened.replayedEntries
    compare(opened, "after \(deaths) deaths")
    if failure == nil { try serve(opened, life) }
    if opened.disk?.faultyOperation ?? "none" != "none" { faults += 1 }
    withExtendedLifetime(opened.served) {}
  }

  /// Opens the layer; nil when the server died, or was told of an error.
  private func open(_ life: ServerLife, _ isLast: Bool) throws -> Opened? {
    if capacity == PendingLog.standardCapacity, random.chance(3) {
      let upper = try Upper.open(
        files, pendingFolder: folder.path, defaultVirtualSize: 0, parentUUID: nil, lowers: stack.lowers,
        compactionFloor: compactionFloor)
      return Opened(
        served: upper, index: upper.index, descriptor: upper.dataDescriptor,
        replayedEntries: upper.recovery.replayedEntries)
    }
    let file = FileDisk(
      data: try Descriptor.open(files.data, O_RDWR), index: try Descriptor.open(files.index, O_RDWR),
      indexPath: files.index)
    let disk = MortalDisk(file, life, random: SplitMix(state: random.next()))
    if !isLast { disk.fault = fault() }
    let upper: MortalUpper
    do {
      upper = try MortalUpper(
        files, disk, pendingFolder: folder.path, capacity: capacity, compactionFloor: compactionFloor,
        lowers: stack.lowers)
    } catch {
      if disk.faultyOperation == "none" { throw error }
      deathsInOpening += 1
      return nil
    }
    disk.letsOthersWrite = wish.kind == .append
    return Opened(
      served: upper, index: upper.index, descriptor: file.dataDescriptor, replayedEntries: upper.replayedEntries,
      disk: disk)
  }

  /// Most servers die at an operation of their disk, some of them in the first ones, if nothing kills them before.
  private func fault() -> (at: Int, kind: FaultyDisk.Fault)? {
    let place = Int.random(in: 1...(random.chance(3) ? 3 : 50), using: &random)
    if wish.hasErrors, random.chance(2) { return (place, .error(random.chance(2) ? .noSpace : .ioError)) }
    return random.chance(4) ? nil : (place, .stop)
  }

  private func serve(_ opened: Opened, _ life: ServerLife) throws {
    let slot = stack.files.count + 1
    var layers = Array(UnsafeBufferPointer(start: stack.sources.base, count: stack.sources.count))
    layers.append(
      LayerSource(
        file: LayerFile(slot: Int32(slot), descriptor: opened.descriptor), method: random.chance(2) ? .memory : .ring,
        payloadOffset: 0, blobBytes: .max, blocks: nil))
    let table = LayerTable(layers, nextSlot: Int32(slot + 1))
    let source = QueueSource(
      map: stack.map.view, upper: opened.index.view, upperLayer: UInt8(layers.count - 1), layers: table.base,
      deviceSectors: UInt64(Self.sectors), dataPath: .copy)
    let page = try CounterPage(path: folder("counters"), queues: wish.queues)
    let recorder = Recorder(queues: wish.queues, deviceBytes: UInt64(Self.sectors) * 512)
    var threads: [Posix.Thread] = []
    let (flushesNow, comesInBursts) = (random.chance(2), random.chance(2))
    for (number, transport) in transports.enumerated() {
      let pages = try RequestPages(depth: depths[number], requestBytesMax: DeviceOptions.requestBytesMax)
      transport.begin(pages.view, opened.served, life)
      transport.flushesNow = flushesNow
      transport.comesInBursts = comesInBursts
      let job = QueueJob(
        pages: pages, transport: transport, source: source, depth: depths[number], counters: page.counters(number),
        latencies: page.latencies(number), recorder: recorder.slot(number))
      threads.append(
        try Posix.Thread(name: "queue \(number)") {
          life.waitForTurn(number)
          let hasEnded = (try? job.run()) ?? false
          if !hasEnded, !life.isDead { job.transport.complaints.append("the queue broke") }
          life.end()
        })
    }
    life.begin()
    for thread in threads where !thread.join(Deadline(milliseconds: 60_000)) {
      // It has memory that must not go.
      fatalError("WARMBLK_SEED=\(seed): a queue hangs")
    }
    for transport in transports {
      transport.bury()
      if !transport.complaints.isEmpty { failure = "\(transport.complaints)" }
    }
    withExtendedLifetime(table) {}
  }

  // MARK: What is right

  /// Compares the layer with what it may be at this moment, in which nobody writes.
  private func compare(_ opened: Opened, _ when: String) {
    let history = WriteHistory(transports, sectors: Self.sectors, original: stack.model)
    let now = clock.tick()
    for sector in 0..<Self.sectors {
      let piece = opened.index.view.piece(at: UInt64(sector), limit: 1)
      var found = [UInt8](repeating: 0, count: 512)
      switch piece.kind {
      case .zeroes: break
      case .unmapped: found = Array(stack.model[sector * 512..<sector * 512 + 512])
      case .data:
        if pread(opened.descriptor, &found, 512, Int(piece.blobSector) * 512) != 512 { failure = "\(when): no data" }
      }
      if !history.allows(found[...], in: sector, began: now, ended: now + 1) {
        failure = "\(when): sector \(sector) is wrong: \(found.prefix(8))"
        return
      }
    }
  }

  /// All is answered: checks the answers, and what a clean end leaves.
  private func finish() throws {
    let history = WriteHistory(transports, sectors: Self.sectors, original: stack.model)
    for transport in transports {
      for (number, ticket) in transport.tickets.enumerated() { history.check(ticket, number, seed) }
    }
    if capacity != PendingLog.standardCapacity {
      // `Upper` has another log: this one has to be empty before it comes.
      guard let opened = try open(ServerLife(threads: 1, instants: .max, random: random), true) else { return }
      try opened.served.flush()
    }
    for round in 0..<2 {
      let upper = try Upper.open(
        files, pendingFolder: folder.path, defaultVirtualSize: 0, parentUUID: nil, lowers: stack.lowers)
      if round == 1, !upper.recovery.isClean { failure = "after a clean end: \(upper.recovery.lines)" }
      compare(
        Opened(served: upper, index: upper.index, descriptor: upper.dataDescriptor, replayedEntries: 0),
        "after all deaths")
      try upper.close()
    }
  }
}
