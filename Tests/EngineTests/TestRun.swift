import Glibc
import Posix
import Synchronization
import Testing
import Ublk
import ZFile

@testable import Device

/// A queue that has served random requests without a kernel, and what that left behind.
struct TestRun {
  let transport: FakeTransport
  let counters: QueueCounters
  let latencies: [LatencyHistogram.Class: LatencyHistogram]
  /// What was recorded.
  let touches: [FirstTouch]
  let lostTouches: UInt64
  let stack: TestStack
  let ended: Bool
  private static let pages = Atomic<Int>(0)

  /// `WARMBLK_SEED` repeats one seed, `WARMBLK_SEEDS` says how many are tried instead of `count`.
  static func seeds(_ count: Int) -> [UInt64] {
    if let text = getenv("WARMBLK_SEED"), let seed = UInt64(String(cString: text)) { return [seed] }
    let wanted = getenv("WARMBLK_SEEDS").flatMap { Int(String(cString: $0)) } ?? count
    return (0..<wanted).map { UInt64($0) }
  }

  init(
    _ seed: UInt64, requests count: Int = 60, faults: FakeTransport.Faults = .init(),
    extra: [Request] = [], areRemote: Bool = false, isRecorded: Bool = false
  ) throws {
    var random = SeededRandom(seed)
    stack = try TestStack(
      &random, layers: Int.random(in: 1...5, using: &random), sectors: 4096, areRemote: areRemote)
    let depth = [1, 2, 7, 32].randomElement(using: &random)!
    let pages = try RequestPages(depth: depth, requestBytesMax: DeviceOptions.requestBytesMax)
    let dataPath: DataPath = [.copy, .userCopy, .zeroCopy].randomElement(using: &random)!
    let sectors = stack.sectors
    var requests = (0..<count).map { _ in Self.request(&random, sectors) } + extra
    requests.shuffle(using: &random)
    transport = FakeTransport(
      memory: pages.view, dataPath: dataPath, files: stack.files, remotes: stack.remotes, requests: requests,
      faults: faults, random: random)
    let path = "/dev/shm/warmblk-engine.\(getpid()).\(Self.pages.add(1, ordering: .relaxed).newValue)"
    let page = try CounterPage(path: path, queues: 1)
    defer { unlink(path) }
    let recorder = Recorder(queues: 1, deviceBytes: UInt64(stack.sectors) * 512)
    if isRecorded { try recorder.start() }
    let source = QueueSource(
      map: stack.map.view, layers: stack.sources.base, deviceSectors: UInt64(stack.sectors), dataPath: dataPath)
    var queue = Queue(
      transport: transport, source: source, depth: depth, pages: pages, blockCache: try BlockCache(),
      decoder: try BlockDecoder(), counters: page.counters(0), latencies: page.latencies(0),
      recorder: recorder.slot(0))
    ended = queue.serve()
    var touches: [FirstTouch] = []
    lostTouches = recorder.stop { touches.append($0) }
    self.touches = touches
    counters = page.snapshot.total
    latencies = try CounterPage.read(path).latencies
  }

  private static func request(_ random: inout SeededRandom, _ sectors: Int) -> Request {
    let length = random.chance(3) ? Int.random(in: 1...1024, using: &random) : Int.random(in: 1...32, using: &random)
    let start = Int.random(in: 0...(sectors - length), using: &random)
    return Request(operationNumber: 0, sectors: UInt32(length), startSector: UInt64(start))
  }
}
