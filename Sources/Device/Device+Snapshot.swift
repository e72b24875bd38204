import Image
import LSMT
import Posix
import UpperLayer

/// A disk whose upper becomes a layer while it is used.
///
///     upper      new         new       new
///     image  ─▶  frozen  ─▶  frozen ─▶ image with one layer more
///                image       image
///                    switchUpper   (it is sealed)   adopt
extension Device {
  /// Entries that a layer sealed of the upper may have.
  private static let entriesMax = Int(SealedIndex.maxEntries)

  /// What was the upper before a snapshot, as long as the image does not have it as a layer.
  public var frozen: Upper? { stack.withLock(\.frozen) }

  /// Runs `body` while no queue of a writable device has anything in flight; requests that arrive meanwhile are held. Returns
  /// for how many nanoseconds. If requests under way do not end before the deadline everything goes on as before.
  func withQueuesPaused(
    _ files: [LayerFile] = [], _ deadline: Deadline, _ body: () throws(DeviceError) -> PausePoint.Change?
  ) throws(DeviceError) -> UInt64 {
    guard upper != nil else { throw .invalidOption("\(path) cannot be written") }
    let threads = threads
    return try QueuePause.run(
      pausePoints, files, deadline, hasEnded: { threads.isEmpty || threads.contains(where: \.hasEnded) }, body)
  }

  /// Returns when all requests have ended that were under way: what they looked up in the upper's index, nobody reads any
  /// more. Nanoseconds for which requests were held for that.
  public func waitForReaders(_ deadline: Deadline) throws(DeviceError) -> UInt64 {
    try withQueuesPaused([], deadline) { () throws(DeviceError) in nil }
  }

  /// Throws when no snapshot can be made of the device as it is.
  public func checkSnapshot() throws(DeviceError) {
    guard let upper else { throw .invalidOption("\(path) cannot be written: there is nothing to make a layer of") }
    if frozen != nil {
      throw .invalidOption("the last snapshot of \(path) is not finished: try again")
    }
    // With the upper, which becomes one.
    if layers.count > SegmentMap.maxLayers {
      throw .invalidOption(
        "\(path) has \(layers.count - 1) layers, and no image can have more: merge some with `warmblk merge`, and add it again"
      )
    }
    if layers.nextSlot >= slotsEnd {
      throw .invalidOption(
        "\(path) has had \(LayerTable.spareSlots) snapshots: `warmblk upgrade -n \(id)` makes room for more")
    }
    try checkEntries(of: upper)
  }

  private var slotsEnd: Int32 { firstSpareSlot + Int32(LayerTable.spareSlots) }

  /// Readers of layers have a limit, and this one is not found out after the switch.
  private func checkEntries(of upper: Upper) throws(DeviceError) {
    // A piece is an entry at most, except in the regions of very large devices.
    if upper.index.segmentCount < Self.entriesMax, upper.index.deviceSectors <= 1 << 37 { return }
    let count = upper.index.segments().count
    if count < Self.entriesMax { return }
    throw .invalidOption(
      "\(upper.files.data) has \(count) entries, and a layer can have \(Self.entriesMax): no snapshot of it could be "
        + "opened; take \(path) away and make layers of it with `warmblk commit`, which joins entries")
  }

  /// Makes `next`, which is empty and as large as the disk, the upper: everything that was acknowledged before is durable in
  /// the old one, which is ``frozen`` and not written any more. Returns for how many nanoseconds requests were held.
  ///
  /// When it throws everything is as before.
  public func switchUpper(to next: Upper, _ deadline: Deadline) throws(DeviceError) -> UInt64 {
    try checkSnapshot()
    guard let old = upper, let worker else { throw .invalidOption("\(path) cannot be written") }
    try DeviceError.describing("flush \(old.files.data)") { () throws(Errno) in
      // What comes while the first one runs is little, and so is what is left for the pause.
      try old.flush()
      try old.flush()
    }
    let table = layers.adding(next)
    let length = try withQueuesPaused([table.topFile], deadline) { () throws(DeviceError) in
      try checkEntries(of: old)
      guard next.virtualSize == old.virtualSize else {
        throw .invalidOption("the new upper has \(next.virtualSize) bytes, \(path) has \(old.virtualSize)")
      }
      try DeviceError.describing("flush \(old.files.data)") { () throws(Errno) in try old.flush() }
      stack.withLock { stack in
        stack.upper = next
        stack.frozen = old
      }
      worker.use(next)
      return PausePoint.Change(source: source(table), upper: next)
    }
    // Nobody reads the old table: all queues had stopped, and go on with the new one.
    layers = table
    return length
  }

  /// Serves `image`, which has what is ``frozen`` as its topmost layer, and nothing is frozen any more. Returns for how many
  /// nanoseconds requests were held. When it throws everything is as before.
  public func adopt(_ image: Image, _ deadline: Deadline) throws(DeviceError) -> UInt64 {
    guard let upper, let frozen, let layer = image.layers.last else {
      throw .invalidOption("no snapshot of \(path) is to be finished")
    }
    let table = layers.replacing(layers.count - 2, by: layer)
    let old = self.image
    let length = try withQueuesPaused([], deadline) { () throws(DeviceError) in
      stack.withLock { stack in
        stack.image = image
        stack.frozen = nil
      }
      return PausePoint.Change(source: source(table), upper: upper)
    }
    layers = table
    // Until here queues may have read from them.
    withExtendedLifetime((old, frozen)) {}
    return length
  }
}
