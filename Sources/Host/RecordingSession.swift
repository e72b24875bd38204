import Device
import Glibc
import Image
import Posix
import Trace

/// One recording of a device: takes what the queues touched, says where that is stored, knows when it is over, and
/// writes the trace. For the thread that controls the device.
final class RecordingSession {
  /// Milliseconds between two looks at what the queues touched, while they do. A queue's ring holds 8192 touches.
  static let stepBusy = 20
  /// The same while nothing new is touched.
  static let stepIdle = 100

  let plan: RecordingPlan
  private let device: Device
  private let folder: TraceFolder
  private let lock: LockFile?
  private let since = Int64(time(nil))
  private let began = monotonicNanoseconds()
  private var touches: [FirstTouch] = []
  private var bytes: UInt64 = 0
  private var lastTouch: UInt64?
  /// Accesses that the trace would have now, about.
  private var accessCount = 0
  /// Bytes of the disk that are one access: a block of a compressed layer.
  private let accessBytes: UInt64

  /// Begins. The device's recorder may run already, since the device was made.
  init(_ device: Device, _ plan: RecordingPlan, _ folder: TraceFolder, lock: LockFile?) throws(HostError) {
    try plan.check()
    if let status = folder.status(plan.name), status.st_mode & S_IFMT != S_IFREG {
      throw .refused("\(plan.path) is there and no file: name another one for the trace")
    }
    try HostError.describing("make a file in the folder of \(plan.path)") { () throws(Errno) in
      try folder.probe(plan.name)
    }
    if !device.recorder.isRecording {
      try HostError.describing("take memory for a recording of \(device.path)") { () throws(Errno) in
        try device.recorder.start()
      }
    }
    self.device = device
    self.plan = plan
    self.folder = folder
    self.lock = lock
    accessBytes = device.image.layers.compactMap(\.blocks).map { UInt64($0.blockSize) }.min() ?? .max
    publish()
  }

  /// Milliseconds until `step` wants to be called again.
  private(set) var patience = RecordingSession.stepBusy

  /// Takes what was touched since the last call; why the recording is over, or nil.
  func step() -> RecordingReport.Reason? {
    let before = touches.count
    device.recorder.drain(take)
    patience = touches.count == before ? Self.stepIdle : Self.stepBusy
    publish()
    if accessCount >= plan.accessesMax { return .full }
    if let limit = plan.durationMax {
      let left = Int(clamping: Int64(limit) - Int64(elapsed / 1_000_000))
      if left <= 0 { return .time }
      patience = min(patience, left)
    }
    if let limit = plan.idleMax, let lastTouch, elapsed - min(elapsed, lastTouch) >= UInt64(limit) * 1_000_000 {
      return .idle
    }
    if let lock, lock.isGone(folder) { return .unlocked }
    return nil
  }

  private var elapsed: UInt64 { monotonicNanoseconds() - began }

  /// Where it is stored is found out at the end: the thread shares processors with those whose reads are recorded.
  private func take(_ touch: FirstTouch) {
    let count = UInt64(touch.device.count)
    touches.append(touch)
    bytes += count
    accessCount += max(1, Int(count / accessBytes))
    lastTouch = max(lastTouch ?? 0, touch.nanoseconds)
  }

  private func publish() {
    device.counters.setRecording(
      RecordingCounts(
        since: since, accesses: UInt64(touches.count), bytes: bytes, lost: device.recorder.lostCount))
  }

  /// Ends the recording and writes the trace. If that fails nothing is written.
  func finish(_ reason: RecordingReport.Reason) throws(HostError) -> RecordingReport {
    let lost = device.recorder.stop(take)
    device.counters.setRecording(nil)
    let microseconds = elapsed / 1000
    do throws(HostError) {
      var (trace, isWhole) = resolve(microseconds)
      let encoded = try encode(&trace, &isWhole)
      try HostError.describing("write the trace \(plan.path)") { () throws(Errno) in
        try folder.replace(plan.name, encoded, like: folder.status(plan.name))
      }
      try lock?.end(folder)
      return RecordingReport(
        path: plan.path, accesses: trace.accesses.count,
        bytes: trace.accesses.reduce(0) { $0 + UInt64($1.device.count) }, milliseconds: microseconds / 1000,
        lost: lost, fileBytes: encoded.count, reason: isWhole ? reason : .full)
    } catch {
      lock?.abandon(folder)
      throw error
    }
  }

  /// The trace, and whether all that was touched is in it.
  private func resolve(_ microseconds: UInt64) -> (AccessTrace, Bool) {
    // Queues touch at the same time, and are asked one after the other.
    touches.sort { $0.nanoseconds < $1.nanoseconds }
    var accesses: [TraceAccess] = []
    var isWhole = true
    for touch in touches {
      device.image.forEachPiece(ofDevice: touch.device) { piece in
        if accesses.count < plan.accessesMax {
          accesses.append(piece.access(at: touch.nanoseconds / 1000))
        } else {
          isWhole = false
        }
      }
    }
    touches = []
    let trace = AccessTrace(
      imageName: device.image.config.path ?? "", deviceSize: device.size, layers: device.image.traceLayers,
      durationMicroseconds: microseconds, recordedAt: since, accesses: accesses)
    return (trace, isWhole)
  }

  /// The file's bytes. Of a trace that would have more than it may, the last accesses are left out.
  private func encode(_ trace: inout AccessTrace, _ isWhole: inout Bool) throws(HostError) -> [UInt8] {
    while true {
      let encoded: [UInt8]
      do throws(TraceError) { encoded = try bytes(of: trace) } catch {
        throw .refused("the trace \(plan.path) cannot be written: \(error)")
      }
      if UInt64(encoded.count) <= plan.bytesMax || trace.accesses.isEmpty { return encoded }
      isWhole = false
      let share = Double(plan.bytesMax) / Double(encoded.count) * 0.98
      trace.accesses.removeLast(max(1, trace.accesses.count - Int(Double(trace.accesses.count) * share)))
    }
  }

  private func bytes(of trace: AccessTrace) throws(TraceError) -> [UInt8] {
    switch plan.form {
    case .warmblk: try trace.encoded()
    case .overlaybd: device.image.overlaybdTrace(of: trace).encoded()
    }
  }
}
