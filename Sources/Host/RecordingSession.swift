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
  private var accesses: [TraceAccess] = []
  private var bytes: UInt64 = 0
  private var lastTouch: UInt64?
  private var isFull = false

  /// Begins. The device's recorder may run already, since the device was made.
  init(_ device: Device, _ plan: RecordingPlan, _ folder: TraceFolder, lock: LockFile?) throws(HostError) {
    try plan.check()
    if let status = folder.status(plan.name), status.st_mode & S_IFMT != S_IFREG {
      throw .refused("\(plan.path) is there and no file: name another one for the trace")
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
    publish()
  }

  /// Milliseconds until `step` wants to be called again.
  private(set) var patience = RecordingSession.stepBusy

  /// Takes what was touched since the last call; why the recording is over, or nil.
  func step() -> RecordingReport.Reason? {
    let before = accesses.count
    device.recorder.drain(take)
    patience = accesses.count == before ? Self.stepIdle : Self.stepBusy
    publish()
    if isFull { return .full }
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

  private func take(_ touch: FirstTouch) {
    lastTouch = max(lastTouch ?? 0, touch.nanoseconds)
    device.image.forEachPiece(ofDevice: touch.device) { piece in
      if accesses.count >= plan.accessesMax { return isFull = true }
      accesses.append(piece.access(at: touch.nanoseconds / 1000))
      bytes += UInt64(piece.device.count)
    }
  }

  private func publish() {
    device.counters.setRecording(
      RecordingCounts(
        since: since, accesses: UInt64(accesses.count), bytes: bytes, lost: device.recorder.lostCount))
  }

  /// Ends the recording and writes the trace. If that fails nothing is written.
  func finish(_ reason: RecordingReport.Reason) throws(HostError) -> RecordingReport {
    let lost = device.recorder.stop(take)
    device.counters.setRecording(nil)
    let microseconds = elapsed / 1000
    do throws(HostError) {
      let (encoded, count) = try encode(microseconds)
      try HostError.describing("write the trace \(plan.path)") { () throws(Errno) in
        try folder.replace(plan.name, encoded, like: folder.status(plan.name))
      }
      try lock?.end(folder)
      let recorded = accesses[..<count].reduce(0) { $0 + UInt64($1.device.count) }
      return RecordingReport(
        path: plan.path, accesses: count, bytes: recorded, milliseconds: microseconds / 1000, lost: lost,
        fileBytes: encoded.count, reason: count < accesses.count ? .full : reason)
    } catch {
      lock?.abandon(folder)
      throw error
    }
  }

  /// The file's bytes, and how many accesses it has: all, unless the file would have more bytes than it may.
  private func encode(_ microseconds: UInt64) throws(HostError) -> ([UInt8], Int) {
    // Queues touch at the same time, and are asked one after the other.
    var trace = AccessTrace(
      imageName: device.image.config.path ?? "", deviceSize: device.image.virtualSize, layers: device.image.traceLayers,
      durationMicroseconds: microseconds, recordedAt: since, accesses: accesses)
    accesses = trace.accesses
    while true {
      let encoded: [UInt8]
      do throws(TraceError) { encoded = try bytes(of: trace) } catch {
        throw .refused("the trace \(plan.path) cannot be written: \(error)")
      }
      if UInt64(encoded.count) <= plan.bytesMax || trace.accesses.isEmpty { return (encoded, trace.accesses.count) }
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
