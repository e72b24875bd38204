import LSMT
import Posix
import Synchronization

/// The writable layer of a device: its files, open and locked.
///
/// What was acknowledged survives a killed process in the same boot; what was acknowledged before a ``flush()`` that
/// returned survives a power loss, and any other sector is wholly old or wholly new then. The layer opens again always.
///
/// <doc:UpperLayer> says how.
public final class Upper: @unchecked Sendable {
  /// The paths.
  public let files: UpperFiles
  /// How the bytes are laid out.
  public let kind: UpperFiles.Kind
  /// The header of the data file as it was when the layer was opened, its size adopted.
  public let header: LayerRecord
  /// What was found on opening.
  public let recovery: RecoveryReport
  /// Logs of other layers' pending entries that were removed on opening, as their data files do not exist any more: a line
  /// for the log each.
  public let removedLogs: [String]
  /// Where each sector is; for readers.
  public let index: UpperIndex
  /// The data file, for readers; valid as long as this object lives.
  public let dataDescriptor: Int32

  /// One of the two is there.
  let append: AppendUpper<FileDisk>?
  let sparse: SparseUpper<FileDisk>?
  private let disk: FileDisk
  /// Of an append-only layer.
  private let pendingPath: String?

  init(
    files: UpperFiles, header: LayerRecord, disk: FileDisk, append: AppendUpper<FileDisk>, pendingPath: String,
    recovery: RecoveryReport, removedLogs: [String]
  ) {
    self.files = files
    kind = .append
    self.header = header
    self.recovery = recovery
    self.removedLogs = removedLogs
    index = append.index
    dataDescriptor = disk.dataDescriptor
    self.append = append
    sparse = nil
    self.disk = disk
    self.pendingPath = pendingPath
  }

  init(files: UpperFiles, header: LayerRecord, disk: FileDisk, sparse: SparseUpper<FileDisk>) {
    self.files = files
    kind = .sparse
    self.header = header
    recovery = sparse.report
    removedLogs = []
    index = sparse.index
    dataDescriptor = disk.dataDescriptor
    append = nil
    self.sparse = sparse
    self.disk = disk
    pendingPath = nil
  }

  /// Bytes of the device.
  public var virtualSize: UInt64 {
    append?.deviceBytes.load(ordering: .acquiring) ?? sparse?.deviceBytes.load(ordering: .acquiring) ?? 0
  }

  /// HOT: writes pieces, from any thread. They are gathered: one append and one `pwritev` for up to 64 of them, one entry
  /// for those that follow each other. Where pieces overlap, the later one of the call wins.
  ///
  /// When it returns, all pieces are acknowledged. Throws `EINVAL` for what is not whole sectors of the device, `EROFS`
  /// once the layer is sealed, `EBADF` once it is closed, `ENOSPC` and what else the file system says; of the pieces that
  /// were gathered with the failed one nothing is mapped then. May wait for a flush when very many entries are pending.
  ///
  /// A sparse layer writes them one after the other, and of those that fail any part may be written. Where a piece ends
  /// within a block of the file that is a hole so far, it reads the rest of the block from the layers below, which may be far
  /// away: unless it `mayWait`, it throws `EAGAIN` then, and has written nothing.
  public func write(_ pieces: UnsafeBufferPointer<UpperWrite>, mayWait: Bool = true) throws(Errno) {
    if let append { return try append.write(pieces) }
    try sparse?.write(pieces, mayWait: mayWait)
  }

  /// Makes sectors read as zeroes, whatever lower layers have there, and, unless `keepsSpace`, gives the space of the data
  /// that was there back where whole blocks of the file system are free. May wait for the disk. A sparse layer stores
  /// zeroes wherever layers below have something. Errors as for
  /// ``write(_:)``; after one a part of the sectors may be zeroes.
  public func zero(sector: UInt64, sectors: UInt64, keepsSpace: Bool) throws(Errno) {
    if let append { return try append.zero(sector: sector, sectors: sectors, keepsSpace: keepsSpace) }
    try sparse?.zero(sector: sector, sectors: sectors, keepsSpace: keepsSpace)
  }

  /// Returns when all that was acknowledged before the call is durable: at most two syncs, which concurrent callers
  /// share, and none when nothing was written since the last one.
  ///
  /// When the data could not be synchronized the kernel forgets that it was not, so from then on every flush fails with
  /// `EIO` until the layer is opened again, whose ``RecoveryReport`` tells of it, unless it is a sparse one. After any other error (`ENOSPC` of the
  /// index file) the next flush tries everything again.
  public func flush() throws(Errno) {
    if let append { return try append.flush() }
    try sparse?.flush()
  }

  /// HOT: ``flush()``, for a thread that must not wait for other threads. False, and nothing was done, when it would; then
  /// there is ``flush()``. Of a disk it waits for the syncs all the same, unless the layer ``isInMemory``.
  public func flushNow() throws(Errno) -> Bool {
    if let append { return try append.flushNow() }
    return try sparse?.flushNow() ?? false
  }

  /// Whether its files are in memory (tmpfs, ramfs), where syncs do not take time.
  public var isInMemory: Bool { disk.isInMemory }

  /// Entries that no flush has covered yet; a sparse layer has none.
  public var pendingCount: Int { append?.pendingCount ?? 0 }

  /// Bytes that the data file occupies on its disk and nothing maps: overwritten data. To the accuracy of blocks. A sparse layer has none.
  public var garbageBytes: UInt64 { append?.garbageBytes ?? 0 }

  /// Bytes of the data file.
  public var dataBytes: UInt64 { (try? disk.dataSize()) ?? 0 }

  /// Changes the size of the device, in both headers; durable when it returns. `bytes` must be a multiple of 512. A
  /// smaller size is refused unless `shrinks`; what lies beyond it is gone then, also when the device grows again.
  ///
  /// Of what is added, `hidden` (sectors) becomes zeroes before the layer has its new size: layers below have something
  /// there. A sparse layer knows the layers below itself.
  public func resize(
    to bytes: UInt64, shrinks: Bool = false, hiding hidden: [Range<UInt64>] = []
  ) throws(UpperError) {
    try UpperFiles.checkSize(bytes, path: files.data)
    let old = virtualSize
    precondition(hidden.allSatisfy { $0.upperBound <= bytes / UInt64(sectorSize) }, "hides what is beyond the new end")
    if bytes == 0 || bytes < old && !shrinks {
      throw .invalidSize(
        path: files.data, bytes: bytes,
        reason: bytes == 0
          ? "it must have some" : "it has \(old) bytes now, and what is beyond the new end would be lost")
    }
    try describing { () throws(UpperChangeError) in
      try append?.resize(to: bytes, hiding: hidden)
      try sparse?.resize(to: bytes)
    }
  }

  /// Makes it a sealed layer in place: all that is acknowledged is flushed, then the index and a trailer follow the data.
  /// From then on ``write(_:)`` and ``zero(sector:sectors:keepsSpace:)`` fail with `EROFS`; reads go on, and so does
  /// ``close()``. The index file has no meaning any more; it stays.
  ///
  /// A crash at any step leaves a layer that is writable or sealed. After an error it is writable again. Refused are more
  /// entries than readers open, ``SealedIndex/maxEntries``.
  public func seal() throws(UpperError) {
    try describing { () throws(UpperChangeError) in
      try append?.seal()
      try sparse?.seal()
    }
  }

  /// Flushes, removes the log of pending entries and unlocks the layer. When the flush fails the log stays, for the next
  /// one who opens the layer in this boot.
  public func close() throws(Errno) {
    defer { disk.unlock() }
    try append?.close()
    try sparse?.close()
    if let pendingPath { PendingLog.remove(pendingPath) }
  }

  func describing<T>(_ body: () throws(UpperChangeError) -> T) throws(UpperError) -> T {
    do throws(UpperChangeError) { return try body() } catch {
      switch error {
      case .system(let call, let errno): throw .system(call: call, path: files.data, errno)
      case .layer(let error): throw .layer(path: files.data, error)
      case .tooManyEntries(let count):
        throw .tooManyEntries(path: files.data, count: count, limit: SealedIndex.maxEntries)
      }
    }
  }
}
