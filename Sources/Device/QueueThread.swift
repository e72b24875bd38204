import CLinux
import Glibc
import Posix
import Synchronization
import Ublk
import ZFile

/// The thread that serves one queue.
final class QueueThread: Sendable {
  /// What the thread works with. The addresses are valid until it has ended.
  struct Plan: @unchecked Sendable {
    let device: UInt32
    let number: Int
    let depth: Int
    let requestBytesMax: Int
    let character: Int32
    let affinity: CPUMask
    /// The layers' descriptors, as the layer table numbers them.
    let files: [Int32]
    /// Empty slots behind them.
    let spareSlots: Int
    let source: QueueSource
    let counters: UnsafeMutablePointer<QueueCounters>
    let latencies: LatencyCounts
    let recorder: UnsafeMutablePointer<TouchSlot>
    /// Where the queue hears from other threads; nil where none has anything to say.
    let mailbox: Mailbox?
    /// Where remote layers are wanted; nil without any.
    let port: FetchPort?
    /// The way to the upper; nil in a read-only device.
    let upper: UpperPort?
    /// Where the control thread's orders are; nil in a read-only device.
    let pausePoint: PausePoint?
    /// An event descriptor that is written when the thread ends.
    let ended: Int32
  }

  private enum Phase: Int, AtomicRepresentable {
    case preparing, serving, ended
  }

  private final class Progress: Sendable {
    let phase = Atomic<Phase>(.preparing)
    let error = Mutex<DeviceError?>(nil)
  }

  private let progress: Progress
  private let thread: Posix.Thread

  /// Starts the thread.
  init(_ plan: Plan) throws(DeviceError) {
    let progress = Progress()
    self.progress = progress
    thread = try DeviceError.describing("start a thread for queue \(plan.number)") { () throws(Errno) in
      try Posix.Thread(name: "ublk\(plan.device)-q\(plan.number)") {
        do throws(DeviceError) {
          try Self.serve(plan, progress)
          Self.end(plan, progress)
        } catch {
          Self.end(plan, progress, error)
        }
      }
    }
  }

  /// Waits until the thread is about to arm its tags.
  func waitUntilServing(_ deadline: Deadline) throws(DeviceError) {
    let isReady = deadline.wait(interval: 1) { progress.phase.load(ordering: .acquiring) != .preparing }
    if let error { throw error }
    if !isReady { throw .timedOut(what: "a queue's thread did not get ready") }
  }

  /// Why the thread ended, if that was an error.
  var error: DeviceError? { progress.error.withLock { $0 } }

  /// Whether it serves no more.
  var hasEnded: Bool { progress.phase.load(ordering: .acquiring) == .ended }

  /// Waits for its end; false when the deadline came first.
  func join(_ deadline: Deadline) -> Bool { thread.join(deadline) }

  private static func serve(_ plan: Plan, _ progress: Progress) throws(DeviceError) {
    // Memory that this thread needs must not be had by writing to the disk that it serves. Refused without
    // CAP_SYS_RESOURCE, which the server warns of, and before Linux 5.6.
    _ = clinux_prctl(CLINUX_PR_SET_IO_FLUSHER, 1)
    if !plan.affinity.isEmpty { plan.affinity.withBytes { _ = clinux_set_affinity($0.baseAddress, $0.count) } }
    var queue = try makeQueue(plan)
    progress.phase.store(.serving, ordering: .releasing)
    if queue.serve() { return }
    end(
      plan, progress,
      .system(what: "submit to the ring of queue \(plan.number)", queue.transport.failure ?? .ioError))
    // The ring and the thread stay until the process goes. On 6.12 a driver that loses one queue of a server before
    // the others stops the disk and waits for requests of the others for ever; it copes with a server that dies.
    while true { pause() }
  }

  /// Says that the queue serves no more, and why if that was an error.
  private static func end(_ plan: Plan, _ progress: Progress, _ error: DeviceError? = nil) {
    progress.error.withLock { $0 = error }
    progress.phase.store(.ended, ordering: .releasing)
    var one: UInt64 = 1
    _ = write(plan.ended, &one, 8)
  }

  private static func makeQueue(_ plan: Plan) throws(DeviceError) -> Queue<RingTransport> {
    let pages = try DeviceError.describing("reserve memory for queue \(plan.number)") { () throws(Errno) in
      try RequestPages(depth: plan.depth, requestBytesMax: plan.requestBytesMax)
    }
    let cache = try DeviceError.describing("reserve memory for queue \(plan.number)") { () throws(Errno) in
      try BlockCache()
    }
    let memory = pages.view
    let transport = try DeviceError.describing("make the ring of queue \(plan.number)") { () throws(Errno) in
      try RingTransport(
        character: plan.character, queue: plan.number, depth: plan.depth, files: plan.files, memory: memory,
        spareSlots: plan.spareSlots, dataPath: plan.source.dataPath, mailbox: plan.mailbox, port: plan.port,
        upper: plan.upper)
    }
    let decoder: BlockDecoder
    do { decoder = try BlockDecoder() } catch {
      throw .system(what: "make a decoder for queue \(plan.number)", Errno(rawValue: ENOMEM))
    }
    return Queue(
      transport: transport, source: plan.source, depth: plan.depth, pages: pages, blockCache: cache,
      decoder: decoder, counters: plan.counters, latencies: plan.latencies, recorder: plan.recorder,
      pausePoint: plan.pausePoint)
  }
}
