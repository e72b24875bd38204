import CLinux
import Device
import Glibc
import Logging
import Posix
import Trace

/// What the control thread does: waits for peers and for the next step of a recording.
final class ControlLoop {
  /// Peers at a time; others wait until one has gone, which is 5 s at the most if it says nothing.
  private static let peersMax = 8
  /// Milliseconds that what is under way gets when the device goes.
  private static let endMilliseconds = 4000

  private let device: Device
  private let directory: RunDirectory
  private let log: Logger
  private let wake: Int32
  private let handOver: HandOver
  private var listener: Int32 = -1
  private var peers: [ControlConnection] = []
  private var recording: RecordingSession?
  /// What is under way beside all this, and who waits for it.
  private var operation: LiveOperation?
  private var asker: ControlConnection?
  private let operationEnd: OperationEnd
  /// A snapshot that was switched to, but not finished.
  private var snapshot: SnapshotWork?
  /// How the last recording that ended by itself has ended, until somebody asks.
  private var outcome: Result<RecordingReport, HostError>?

  /// `wake` is an event descriptor that is written when all shall end.
  init(
    _ device: Device, _ directory: RunDirectory, _ recording: RecordingSession?, _ handOver: HandOver, _ wake: Int32,
    _ log: Logger
  ) throws(HostError) {
    operationEnd = try OperationEnd()
    self.directory = directory
    self.handOver = handOver
    self.device = device
    self.recording = recording
    self.wake = wake
    self.log = log
  }

  deinit {
    if listener >= 0 { close(listener) }
  }

  /// Also takes requests from those who connect to `socket`.
  func listen(on socket: consuming Descriptor) { listener = socket.release() }

  /// Until `wake` is written.
  func run() {
    while true {
      let room = peers.count < Self.peersMax && listener >= 0
      var entries = [
        pollfd(fd: wake, events: Int16(POLLIN), revents: 0),
        pollfd(fd: room ? listener : -1, events: Int16(POLLIN), revents: 0),
        pollfd(fd: operationEnd.descriptor, events: Int16(POLLIN), revents: 0),
      ]
      entries += peers.map(\.pollEntry)
      let patience = recording?.patience ?? (peers.isEmpty ? -1 : operation == nil ? 1000 : 200)
      if poll(&entries, nfds_t(entries.count), Int32(clamping: patience)) < 0 { continue }
      if entries[0].revents != 0 { break }
      for (peer, entry) in zip(peers, entries[3...]) where entry.revents != 0 { serve(peer) }
      if entries[1].revents != 0 { acceptPeer() }
      if entries[2].revents != 0 { operationEnd.forget() }
      followOperation()
      peers.removeAll(where: \.isOver)
      if let reason = recording?.step() { end(reason) }
    }
    if recording != nil { end(.removed) }
    operation?.cancel()
    // A snapshot that is not finished by then is completed by who opens the image next.
    _ = operation?.wait(Deadline(milliseconds: Self.endMilliseconds))
  }

  private func acceptPeer() {
    let raw = clinux_accept(listener)
    if raw >= 0 { peers.append(ControlConnection(Descriptor(owning: raw))) }
  }

  private func serve(_ peer: ControlConnection) {
    if peer.pollEntry.events == Int16(POLLOUT) { return peer.flush() }
    guard let line = peer.receive(), !peer.isWaiting else { return }
    let reply: ControlReply?
    do throws(HostError) {
      reply = try answer(try ControlLine.request(line), peer)
    } catch {
      reply = .failed(message: error.description)
    }
    if let reply { send(reply, peer) }
  }

  private func send(_ reply: ControlReply, _ peer: ControlConnection) {
    if let bytes = try? ControlLine.encode(reply) { peer.send(bytes) }
  }

  /// The reply; nil when it comes later.
  private func answer(_ request: ControlRequest, _ peer: ControlConnection) throws(HostError) -> ControlReply? {
    switch request {
    case .startRecording(let plan):
      if let recording {
        throw .refused(
          "\(device.path) is being recorded already, to \(recording.plan.path): `warmblk trace stop -n \(device.id)` "
            + "ends that")
      }
      recording = try RecordingSession(device, plan, try folder(of: plan.path, peer), lock: nil)
      outcome = nil
      log.info("recording \(device.path) to \(plan.path)")
      return .done
    case .stopRecording:
      if recording != nil { end(.stopped) }
      guard let outcome else { throw .refused("nothing of \(device.path) is being recorded") }
      self.outcome = nil
      return .recorded(report: try outcome.get())
    case .grade(let path):
      let report = try GradeFile.report(on: device)
      try GradeFile.write(report, path, try folder(of: path, peer))
      func bytes(_ parts: [GradeReport.Part]) -> UInt64 { parts.reduce(0) { $0 + UInt64($1.stored.count) } }
      return .graded(wasted: bytes(report.wasted), untraced: bytes(report.untraced))
    case .handOver:
      guard device.features.isSuperset(of: .recovery) else {
        throw .refused("\(device.path) was made on a kernel without recovery: it ends with its server")
      }
      operation?.cancel()
      log.info("another server takes \(device.path) over")
      handOver.ask()
      return .done
    case .snapshot(let path):
      try startSnapshot(path, peer)
      return nil
    case .compact(let bytesPerSecond):
      try startCompaction(bytesPerSecond, peer)
      return nil
    case .grow(let bytes, let hidden):
      try refuseIfBusy()
      let old = device.size
      let ranges = stride(from: 0, to: hidden.count - 1, by: 2).map { number in
        hidden[number]..<hidden[number].addingReportingOverflow(hidden[number + 1]).partialValue
      }
      do throws(DeviceError) {
        try device.grow(to: bytes, hiding: ranges, Deadline(milliseconds: 10_000))
      } catch {
        throw .device(error)
      }
      log.info("\(device.path) has grown from \(old) to \(bytes) bytes")
      if var state = try directory.state(device.id) {
        state.size = bytes
        try directory.write(state)
      }
      return .done
    case .releaseDisk:
      if device.heldDisk.release(Deadline(milliseconds: 2000)) { return .done }
      throw .refused("\(device.path) is being read into its page cache, and a read does not end within 2 s")
    }
  }

  // MARK: What takes long

  private func refuseIfBusy() throws(HostError) {
    guard let operation else { return }
    throw .refused("a \(operation.name) of \(device.path) is under way: try again when it is done")
  }

  /// A compaction makes way for a snapshot.
  private func startSnapshot(_ path: String, _ peer: ControlConnection) throws(HostError) {
    if operation?.name != "compaction" { try refuseIfBusy() }
    let work = SnapshotWork(device, directory, try folder(of: path, peer), path: path, log)
    let unfinished = snapshot
    let follow = operation
    if let follow, let asker { settle(follow, asker, .failure(.refused("a snapshot was asked for: compact again"))) }
    operation = try LiveOperation(
      "snapshot", device: device.id, after: follow, end: operationEnd
    ) { _ throws(HostError) in
      if let unfinished, unfinished.isUnfinished { _ = try unfinished.finish() }
      try work.begin()
      return .snapshot(report: try work.finish())
    }
    snapshot = work
    wait(peer)
  }

  private func startCompaction(_ bytesPerSecond: UInt64?, _ peer: ControlConnection) throws(HostError) {
    try refuseIfBusy()
    let device = device
    operation = try LiveOperation(
      "compaction", device: device.id, after: nil, end: operationEnd
    ) { operation throws(HostError) in
      .compacted(report: try Compacting.perform(on: device, bytesPerSecond: bytesPerSecond, operation))
    }
    wait(peer)
  }

  private func wait(_ peer: ControlConnection) {
    asker = peer
    peer.isWaiting = true
  }

  /// Says how far it is and what it came to. Who has hung up does not want a compaction any more; a snapshot goes on.
  private func followOperation() {
    guard let operation else { return }
    if let result = operation.wait(Deadline(milliseconds: 0)) {
      self.operation = nil
      if case .failure(let error) = result { log.error("\(operation.name) of \(device.path): \(error)") }
      if let asker { settle(operation, asker, result) }
      return
    }
    guard let asker else { return }
    if asker.isOver {
      self.asker = nil
      if operation.name == "compaction" { operation.cancel() }
    } else if asker.isReady, let progress = operation.takeProgress() {
      send(progress, asker)
    }
  }

  private func settle(
    _ operation: LiveOperation, _ peer: ControlConnection, _ result: Result<ControlReply, HostError>
  ) {
    asker = nil
    peer.isWaiting = false
    switch result {
    case .success(let reply): send(reply, peer)
    case .failure(let error): send(.failed(message: error.description), peer)
    }
  }

  /// The folder of the file at `path`, which must have come with the request.
  private func folder(of path: String, _ peer: ControlConnection) throws(HostError) -> TraceFolder {
    let folder = try HostError.describing("use the folder of \(path)") { () throws(Errno) in try peer.takeFolder() }
    guard let folder else { throw .refused("the folder of \(path) did not come along") }
    return folder
  }

  /// Ends the recording; how, is for the log, and for the next who asks.
  private func end(_ reason: RecordingReport.Reason) {
    guard let session = recording else { return }
    recording = nil
    do throws(HostError) {
      let report = try session.finish(reason)
      log.info("recorded \(report.line)")
      outcome = .success(report)
    } catch {
      log.error("\(error): the recording of \(device.path) is lost")
      outcome = .failure(error)
    }
  }
}
