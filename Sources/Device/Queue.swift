import Glibc
import LSMT
import Posix
import Ublk
import UpperLayer
import ZFile

/// What all queues of a device read from. Addresses, valid while the device lives.
struct QueueSource: @unchecked Sendable {
  /// The layers below the upper.
  let map: SegmentMap.View
  /// What is mapped in the writable layer; nil in a read-only device.
  let upper: UpperIndex.View?
  /// The writable layer's number in `layers`, behind those below it.
  let upperLayer: UInt8
  /// What is mapped in a layer between the two that was writable a moment ago; nil but after a snapshot. Its number in
  /// `layers` is the one before the upper's.
  let frozen: UpperIndex.View?
  let layers: UnsafePointer<LayerSource>
  private let fixedSectors: UInt64
  /// How data gets into requests.
  let dataPath: DataPath

  init(
    map: SegmentMap.View, upper: UpperIndex.View? = nil, upperLayer: UInt8 = .max, frozen: UpperIndex.View? = nil,
    layers: UnsafePointer<LayerSource>, deviceSectors: UInt64, dataPath: DataPath
  ) {
    self.map = map
    self.upper = upper
    self.upperLayer = upperLayer
    self.frozen = frozen
    self.layers = layers
    fixedSectors = deviceSectors
    self.dataPath = dataPath
  }

  /// Sectors of the disk. A writable one can grow.
  @inline(__always)
  var deviceSectors: UInt64 { upper?.deviceSectors ?? fixedSectors }

  @inline(__always)
  func isUpper(_ layer: UInt8) -> Bool { upper != nil && layer == upperLayer }
}

/// One hardware queue: takes requests, resolves them to extents, has these read and decoded, and answers.
///
/// A state machine that does not know its thread. All memory is taken at the start; on the way of a request there is
/// no allocation, no lock and no logging. Follow a request from `serve` downwards:
///
///     arrive ─ one extent ──▶ serveWhole ──▶ answered by the kernel after the read, or at once
///        └─── several ──▶ start (Queue+Extents) ──▶ finishOperation (Queue+Operations) ──▶ start … ──▶ answer
///
/// Bytes of a remote layer that are not here are wanted before they are read (Queue+Remote). What changes the disk goes
/// another way (Queue+Writes). Now and then all of it stops for a moment (Queue+Pause).
struct Queue<Transport: QueueTransport & ~Copyable>: ~Copyable {
  var transport: Transport
  var source: QueueSource
  let depth: Int
  let memory: RequestMemory
  let counters: UnsafeMutablePointer<QueueCounters>
  let latencies: LatencyCounts
  /// What is recorded of the requests, if anything is.
  let recorder: UnsafeMutablePointer<TouchSlot>
  let states: UnsafeMutablePointer<RequestState>
  let operations: UnsafeMutablePointer<Operation>
  /// WRITEs that arrived in this wake, and where they go.
  let writes: WriteTable
  /// Tags whose requests wait for a flush at the end of this wake.
  let flushes: UnsafeMutablePointer<UInt32>
  var flushCount = 0
  var decoder: BlockDecoder
  var blockCache: BlockCache
  private let pages: RequestPages
  /// Requests that have arrived, are not held, and were not answered.
  var inFlight = 0
  /// Where the control thread's orders are; nil where it has none.
  let pausePoint: PausePoint?
  /// Whether arrivals are held.
  var isPausing = false
  /// Who waits for the moment in which nothing is in flight; nil when nobody does.
  var pauseReply: OneShot<Int32>?
  /// Tags whose requests are held, in the order of their arrival.
  let held: UnsafeMutablePointer<UInt32>
  var heldCount = 0
  /// Tags that will not get another request.
  private var retired = 0
  private var timerIsRunning = false
  private var hasServedSinceTick = false
  private var givesMemoryBack = false
  /// When the transport last came back, once somebody has asked; 0 before that.
  var eventTime: UInt64 = 0

  init(
    transport: consuming Transport, source: QueueSource, depth: Int, pages: consuming RequestPages,
    blockCache: consuming BlockCache, decoder: consuming BlockDecoder,
    counters: UnsafeMutablePointer<QueueCounters>, latencies: LatencyCounts,
    recorder: UnsafeMutablePointer<TouchSlot>, pausePoint: PausePoint? = nil
  ) {
    self.pausePoint = pausePoint
    held = .allocate(capacity: depth)
    self.transport = transport
    self.source = source
    self.depth = depth
    memory = pages.view
    self.pages = pages
    self.counters = counters
    self.latencies = latencies
    self.recorder = recorder
    states = .allocate(capacity: depth)
    UnsafeMutableRawPointer(states).initializeMemory(
      as: UInt8.self, repeating: 0, count: depth * MemoryLayout<RequestState>.stride)
    operations = .allocate(capacity: depth * RequestState.operationsMax)
    UnsafeMutableRawPointer(operations).initializeMemory(
      as: UInt8.self, repeating: 0, count: depth * RequestState.operationsMax * MemoryLayout<Operation>.stride)
    writes = WriteTable(capacity: source.upper == nil ? 0 : min(depth, WriteTable.capacityMax))
    flushes = .allocate(capacity: depth)
    self.blockCache = blockCache
    self.decoder = decoder
  }

  deinit {
    states.deallocate()
    operations.deallocate()
    held.deallocate()
    writes.deallocate()
    flushes.deallocate()
  }

  /// Arms every tag and serves until all are retired: true. False when the transport broke.
  mutating func serve() -> Bool {
    for tag in 0..<depth { transport.fetch(tag) }
    while retired < depth || inFlight > 0 {
      guard transport.submitAndWait() else { return false }
      eventTime = 0
      while let event = transport.nextEvent() { handle(event) }
      if writes.count > 0 { writeGathered() }
      if flushCount > 0 { flushGathered() }
      if isPausing { notePause() }
      if givesMemoryBack { giveMemoryBack() }
    }
    return true
  }

  @inline(__always)
  private mutating func handle(_ event: Event) {
    switch event.kindNumber {
    case Event.Kind.tag.rawValue:
      if event.result != 0 {
        retire(event.index, event.result)
      } else if isPausing {
        hold(event.index)
      } else {
        arrive(event.index)
      }
    case Event.Kind.operation.rawValue:
      finishOperation(event.index, result: event.result)
    case Event.Kind.fetched.rawValue:
      finishFetch(event.index, result: event.result)
    case Event.Kind.worked.rawValue:
      finishWork(event.index, result: event.result, now: monotonicNanoseconds())
    case Event.Kind.order.rawValue:
      takeOrder()
    default:
      tick()
    }
  }

  // MARK: A request comes and goes

  @inline(__always)
  mutating func arrive(_ tag: Int) {
    let request = transport.request(tag)
    inFlight &+= 1
    hasServedSinceTick = true
    if !timerIsRunning { startTimer() }
    counters.pointee.requests &+= 1
    if !request.isRead { return change(tag, request) }
    guard isInside(request), fitsBuffer(request) else { return refuse(tag, request) }
    let sectors = UInt64(request.sectors)
    recorder.pointee.note(startSector: request.startSector, sectors: sectors, now: &eventTime)
    var cursor = SourceCursor(source, from: request.startSector, count: sectors)
    guard let first = cursor.next(source) else { return refuse(tag, request) }
    let bytes = request.sectors << 9
    if first.sectors == sectors, serveWhole(tag, first, bytes) { return }
    states[tag] = RequestState(
      cursor: cursor, rest: first, position: 0, bytes: bytes, scratchUsed: 0, operations: 0, hasRest: true,
      hasFailed: false, hasWaited: false, arrival: arrivalTime())
    start(tag)
  }

  /// Whether a request asks for sectors that the disk has.
  @inline(__always)
  func isInside(_ request: Request) -> Bool {
    let sectors = UInt64(request.sectors)
    return sectors > 0 && request.startSector < source.deviceSectors
      && sectors <= source.deviceSectors &- request.startSector
  }

  /// Whether a request's data fits into a tag's buffer.
  @inline(__always)
  func fitsBuffer(_ request: Request) -> Bool { UInt64(request.sectors) << 9 <= UInt64(memory.requestBytesMax) }

  /// Serves a request that is one extent and needs no decoding. False if it does.
  @inline(__always)
  private mutating func serveWhole(_ tag: Int, _ mapping: Mapping, _ bytes: UInt32) -> Bool {
    if mapping.isZeroes {
      states[tag].hasFailed = !writeZeroes(tag, position: 0, count: Int(bytes))
      states[tag].arrival = 0
      answer(tag, bytes: bytes)
      return true
    }
    let layer = source.layers + Int(mapping.layer)
    if layer.pointee.isCompressed || layer.pointee.method != .ring || layer.pointee.view != nil
      || !source.dataPath.isZeroCopy || source.upper != nil
    {
      // In a writable device all reads end here, so that it is known when none is under way. And so do reads into a tag's
      // buffer, which is given back when none is.
      return false
    }
    // The operation is set up as if it were one of several: it only completes if it did not succeed in full.
    let index = tag &* RequestState.operationsMax
    let offset = layer.pointee.payloadOffset &+ mapping.blobSector << 9
    operations[index] = Operation(
      layer: mapping.layer, isCompressed: false, count: bytes, done: 0, fileOffset: offset, scratch: 0, position: 0,
      length: bytes, blobOffset: mapping.blobSector << 9)
    states[tag].operations = 0
    transport.readAndCommit(
      layer.pointee.file, offset: offset, tag: tag, count: bytes, operation: UInt32(truncatingIfNeeded: index))
    counters.pointee.bytes &+= UInt64(bytes)
    inFlight &-= 1
    return true
  }

  /// Answers a request, with an error if something of it failed.
  mutating func answer(_ tag: Int, bytes: UInt32) {
    inFlight &-= 1
    // The driver takes the bytes out of the buffer when the ring is submitted: a tick in this wake must not empty it.
    hasServedSinceTick = true
    if states[tag].hasFailed {
      counters.pointee.errors &+= 1
      transport.commit(tag, result: -EIO)
    } else {
      counters.pointee.bytes &+= UInt64(bytes)
      transport.commit(tag, result: Int32(truncatingIfNeeded: bytes))
    }
    if states[tag].arrival != 0 {
      latencies.add(states[tag].hasWaited ? .remote : .local, monotonicNanoseconds() &- states[tag].arrival)
    }
  }

  /// When a request that was just found in the ring arrived there. All that were found at once share one look at the clock;
  /// one that was held arrived when it was found.
  @inline(__always)
  mutating func arrivalTime() -> UInt64 {
    if eventTime == 0 { eventTime = monotonicNanoseconds() }
    return eventTime
  }

  /// A request that this device cannot serve: the block layer, which knows the disk, sends none of them.
  @inline(never)
  mutating func refuse(_ tag: Int, _ request: Request) {
    inFlight &-= 1
    counters.pointee.errors &+= 1
    counters.pointee.fail(.request, layer: 0, offset: request.startSector << 9, code: Int32(request.operationNumber))
    let isKnown =
      request.isRead || source.upper != nil && request.operationNumber <= Request.Operation.writeZeroes.rawValue
    transport.commit(tag, result: isKnown ? -EIO : -EOPNOTSUPP)
  }

  /// A request whose answer was to follow its read at once, but the read failed or came short: it is ours again.
  @inline(never)
  mutating func reopen(_ tag: Int) {
    let index = tag &* RequestState.operationsMax
    inFlight &+= 1
    let operation = operations[index]
    counters.pointee.bytes &-= UInt64(operation.length)
    let nothing = SourceCursor(source, from: 0, count: 0)
    states[tag] = RequestState(
      cursor: nothing, rest: Mapping(sectors: 1, blobSector: 0, layer: 0, isZeroes: true), position: operation.length,
      bytes: operation.length, scratchUsed: 0, operations: 1, hasRest: false, hasFailed: false,
      hasWaited: false, arrival: 0)
  }

  /// A tag's command ended without a request: the device stops, or the driver refused the answer.
  @inline(never)
  private mutating func retire(_ tag: Int, _ result: Int32) {
    retired += 1
    if result != -ENODEV {
      counters.pointee.fail(.command, layer: 0, offset: UInt64(tag), code: -result)
      counters.pointee.errors &+= 1
    }
  }

  // MARK: Memory

  private mutating func startTimer() {
    timerIsRunning = true
    transport.startTimer()
  }

  /// Once a second while there is something to do; a second without requests gives the buffers back.
  private mutating func tick() {
    timerIsRunning = false
    if hasServedSinceTick || inFlight > 0 {
      hasServedSinceTick = false
      startTimer()
    } else {
      givesMemoryBack = true
    }
  }

  /// Not before everything that came with the tick was looked at: what is to be written is in a tag's buffer from the
  /// moment when its request is in the ring.
  @inline(never)
  private mutating func giveMemoryBack() {
    givesMemoryBack = false
    if inFlight > 0 || heldCount > 0 || hasServedSinceTick { return }
    pages.release()
    blockCache.release()
  }
}
