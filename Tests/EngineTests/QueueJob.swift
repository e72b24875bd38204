import Posix
import ZFile

@testable import Device

/// A queue and what its thread takes along.
final class QueueJob: @unchecked Sendable {
  private var pages: RequestPages?
  let transport: FakeTransport
  let source: QueueSource
  let depth: Int
  let counters: UnsafeMutablePointer<QueueCounters>
  let latencies: LatencyCounts
  let recorder: UnsafeMutablePointer<TouchSlot>
  let pausePoint: PausePoint?

  init(
    pages: consuming RequestPages, transport: FakeTransport, source: QueueSource, depth: Int,
    counters: UnsafeMutablePointer<QueueCounters>, latencies: LatencyCounts,
    recorder: UnsafeMutablePointer<TouchSlot>, pausePoint: PausePoint? = nil
  ) {
    self.pausePoint = pausePoint
    self.pages = consume pages
    self.transport = transport
    self.source = source
    self.depth = depth
    self.counters = counters
    self.latencies = latencies
    self.recorder = recorder
  }

  /// Serves until the queue ends; false when its transport broke.
  func run() throws -> Bool {
    var queue = Queue(
      transport: transport, source: source, depth: depth, pages: pages.take()!, blockCache: try BlockCache(),
      decoder: try BlockDecoder(), counters: counters, latencies: latencies, recorder: recorder,
      pausePoint: pausePoint)
    return queue.serve()
  }
}
