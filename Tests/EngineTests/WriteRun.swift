import Glibc
import LSMT
import Posix
import Synchronization
import TestSupport
import Testing
import Ublk
import UpperLayer
import ZFile

@testable import Device

/// Queues of a writable device that have served random requests without a kernel, each on a thread of its own, and the
/// history that they left.
final class WriteRun: @unchecked Sendable {
  struct Wish {
    var queues = 1
    var requests = 120
    var faults = FakeTransport.Faults()
    /// Sectors that all requests are in; few of them make all overlap.
    var sectors = 4096
    var comesInBursts = false
    /// Operations, each as often as it is named.
    var operations: [UInt8] = [0, 0, 0, 1, 1, 1, 1, 2, 3, 5]
    var kind = UpperFiles.Kind.append
    var extra: [Request] = []
    /// Snapshots that are made meanwhile.
    var snapshots = 0
    /// Milliseconds that each of their pauses takes besides.
    var pauseMilliseconds: UInt32 = 0
    /// Milliseconds that each flush takes besides.
    var flushMilliseconds: UInt32 = 0
  }

  let stack: TestStack
  private(set) var upper: Upper
  private var snapshots: SnapshotStack?
  /// Snapshots that were made while requests were to come, and how long the pauses were, in nanoseconds.
  private(set) var snapshotsUnderLoad = 0
  private(set) var pauses: [UInt64] = []
  private(set) var failedPauses = 0
  private(set) var transports: [FakeTransport] = []
  private(set) var counters = QueueCounters()
  private(set) var latencies: [LatencyHistogram.Class: LatencyHistogram] = [:]
  private let folder: Scratch
  private let wish: Wish

  init(_ seed: UInt64, _ wish: Wish = Wish()) throws {
    self.wish = wish
    folder = try Scratch(inMemory: true)
    var random = SeededRandom(seed)
    stack = try TestStack(&random, layers: Int.random(in: 0...3, using: &random), sectors: 4096)
    let files = UpperFiles(data: folder("data"), index: folder("index"))
    try UpperFiles.create(
      data: files.data, index: files.index, kind: wish.kind, virtualSize: 4096 * 512,
      uuid: LayerUUID(bytes: [UInt8](1...16))!,
      parentUUID: .null)
    upper = try Upper.open(
      files, pendingFolder: folder.path, defaultVirtualSize: 0, parentUUID: nil, lowers: stack.lowers)
    try serve(&random)
  }

  private func serve(_ random: inout SeededRandom) throws {
    let slot = stack.files.count + 1
    let isInMemory = random.chance(2)
    var layers = Array(UnsafeBufferPointer(start: stack.sources.base, count: stack.sources.count))
    layers.append(
      LayerSource(
        file: LayerFile(slot: Int32(slot), descriptor: upper.dataDescriptor),
        method: isInMemory ? .memory : .ring,
        payloadOffset: 0, blobBytes: .max, blocks: nil))
    let table = LayerTable(layers, nextSlot: Int32(slot + 1))
    let source = QueueSource(
      map: stack.map.view, upper: upper.index.view, upperLayer: UInt8(layers.count - 1), layers: table.base,
      deviceSectors: 4096, dataPath: .copy)
    let page = try CounterPage(path: folder("counters"), queues: wish.queues)
    let recorder = Recorder(queues: wish.queues, deviceBytes: 4096 * 512)
    let clock = FakeTransport.Clock()
    var threads: [Posix.Thread] = []
    var points: [PausePoint] = []
    let failures = Mutex<[String]>([])
    for number in 0..<wish.queues {
      let depth = [1, 2, 7, 32].randomElement(using: &random)!
      let pages = try RequestPages(depth: depth, requestBytesMax: DeviceOptions.requestBytesMax)
      var requests = (0..<wish.requests).map { _ in
        Request.random(sectors: wish.sectors, operations: wish.operations, &random)
      }
      requests += wish.extra
      requests.shuffle(using: &random)
      let transport = FakeTransport(
        memory: pages.view, dataPath: .copy, files: stack.files, remotes: stack.remotes, requests: requests,
        faults: wish.faults, random: SeededRandom(random.next()), upper: upper, clock: clock,
        firstTicket: number * 100_000)
      transport.comesInBursts = wish.comesInBursts
      var point: PausePoint?
      if wish.snapshots > 0 {
        let mailbox = try Mailbox()
        transport.mailbox = mailbox
        transport.mayEnd.store(false, ordering: .releasing)
        point = PausePoint(mailbox)
      }
      points += [point].compactMap(\.self)
      transport.flushesNow = isInMemory
      transport.flushMilliseconds = wish.flushMilliseconds
      transports.append(transport)
      let job = QueueJob(
        pages: pages, transport: transport, source: source, depth: depth, counters: page.counters(number),
        latencies: page.latencies(number), recorder: recorder.slot(number), pausePoint: point)
      threads.append(
        try Posix.Thread(name: "queue \(number)") {
          do {
            if try !job.run() { failures.withLock { $0.append("the queue did not end") } }
          } catch {
            failures.withLock { $0.append("\(error)") }
          }
        })
    }
    if wish.snapshots > 0 {
      let snapshots = SnapshotStack(stack, upper, table, points, folder)
      snapshots.pauseMilliseconds = wish.pauseMilliseconds
      self.snapshots = snapshots
      for number in 0..<wish.snapshots {
        usleep(UInt32.random(in: 0..<3000, using: &random))
        if transports.contains(where: { $0.left.load(ordering: .relaxed) > 0 }) { snapshotsUnderLoad += 1 }
        while true {
          do throws(DeviceError) {
            pauses += try snapshots.make(number)
            break
          } catch {
            failedPauses += 1
            if wish.faults.registration == 0 || failedPauses > 200 { throw error }
          }
        }
      }
      upper = snapshots.upper
      for transport in transports { transport.mayEnd.store(true, ordering: .releasing) }
    }
    for thread in threads { #expect(thread.join(Deadline(milliseconds: 60_000)), "a queue hangs") }
    counters = page.snapshot.total
    latencies = try CounterPage.read(folder("counters")).latencies
    #expect(failures.withLock { $0 }.isEmpty)
    withExtendedLifetime(table) {}
  }

  // MARK: What is right

  private var history: WriteHistory?

  /// Checks answers and bytes of all queues against what may be.
  func check(_ seed: UInt64) {
    let history = WriteHistory(transports, sectors: 4096, original: stack.model)
    self.history = history
    for transport in transports {
      #expect(transport.complaints.isEmpty, "seed \(seed): \(transport.complaints)")
      for (number, ticket) in transport.tickets.enumerated() { history.check(ticket, number, seed) }
    }
  }

  /// Checks the disk as the next server finds it. After `check`.
  func checkReopened(_ seed: UInt64) throws {
    let history = try #require(history)
    try upper.close()
    let files = upper.files
    let again = try Upper.open(files, pendingFolder: folder.path, defaultVirtualSize: 0, parentUUID: nil)
    #expect(again.recovery.isClean, "seed \(seed): \(again.recovery.lines)")
    for sector in 0..<4096 {
      let piece = again.index.view.piece(at: UInt64(sector), limit: 1)
      var found = [UInt8](repeating: 0, count: 512)
      switch piece.kind {
      case .zeroes: break
      case .unmapped: found = snapshots?.bytes(sector) ?? Array(stack.model[sector * 512..<sector * 512 + 512])
      case .data: #expect(pread(again.dataDescriptor, &found, 512, Int(piece.blobSector) * 512) == 512)
      }
      guard history.allows(found[...], in: sector, began: .max - 1, ended: .max) else {
        return #expect(Bool(false), "seed \(seed): sector \(sector) is wrong after a restart: \(found.prefix(8))")
      }
    }
    try again.close()
  }
}
