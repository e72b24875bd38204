import Glibc
import LSMT
import Posix

extension Upper {
  /// Opens and locks a writable layer, and brings it in order if its last user was killed or the power failed.
  ///
  /// `pendingFolder` is for the log of entries that no flush has covered: a folder on tmpfs, the same one after a crash.
  /// `defaultVirtualSize`, bytes, is that of the layers below; it is adopted, and written into the files, when they say
  /// 0. `lowers` is what a sparse layer asks for what is below; nil when nothing is. `parentUUID` is that of the topmost layer below, nil or null when it has none.
  ///
  /// Nothing is touched when it is refused: in use, of the wrong kind, sealed, damaged at its beginning, made for another
  /// image, or on a file system that cannot be written.
  public static func open(
    _ files: UpperFiles, pendingFolder: String, defaultVirtualSize: UInt64, parentUUID: LayerUUID? = nil,
    lowers: LowerLayers? = nil
  ) throws(UpperError) -> Upper {
    // 16 MiB of entries.
    try open(
      files, pendingFolder: pendingFolder, defaultVirtualSize: defaultVirtualSize, parentUUID: parentUUID,
      lowers: lowers, compactionFloor: 1 << 20)
  }

  /// The same, with the number of entries from which on the index file may be written anew.
  static func open(
    _ files: UpperFiles, pendingFolder: String, defaultVirtualSize: UInt64, parentUUID: LayerUUID?,
    lowers: LowerLayers? = nil, compactionFloor: UInt64
  ) throws(UpperError) -> Upper {
    let data = try openFile(files.data)
    try lock(data, path: files.data)
    let header = try readHeader(data, path: files.data)
    do throws(LSMTError) { try header.requireDataFile() } catch { throw .layer(path: files.data, error) }
    if header.isSealed { throw .sealed(path: files.data) }
    if try hasTrailer(data, of: header, path: files.data) { throw .sealed(path: files.data) }

    let index = try openFile(files.index)
    let indexSize = try size(of: index, path: files.index)
    if header.isSparse {
      if indexSize > 0 {
        throw .wrongKind(data: files.data, kind: .sparse, index: files.index, indexSize: indexSize)
      }
      try requireParent(header, parentUUID, path: files.data)
      return try openSparse(files, consume data, consume index, header, defaultVirtualSize, lowers)
    }
    guard indexSize >= UInt64(LayerRecord.size) else {
      throw .wrongKind(data: files.data, kind: .append, index: files.index, indexSize: indexSize)
    }
    let (indexHeader, indexHeaderBytes) = try readIndexHeader(index, size: indexSize, path: files.index)
    if !header.uuid.isNull, !indexHeader.uuid.isNull, header.uuid != indexHeader.uuid {
      throw .otherIndex(data: files.data, uuid: header.uuid, index: files.index, indexUUID: indexHeader.uuid)
    }
    try requireParent(header, parentUUID, path: files.data)
    // Between the two writes of a resize they differ: one that grew is as good as done.
    let stored = max(header.virtualSize, indexHeader.virtualSize)
    let deviceBytes = try deviceBytes(stored, defaultVirtualSize, path: files.data)
    let folder = folderPath(of: files.index)
    if access(folder, W_OK) != 0 { throw .notWritable(path: folder, .last) }

    let identity = try UpperError.describing("asking what file it is", files.data) { () throws(Errno) in
      try PendingLog.Identity(data, uuid: header.uuid)
    }
    let orphans = PendingLog.removeOrphans(in: pendingFolder)
    let (log, pendingPath, voided) = try PendingLog.open(folder: pendingFolder, for: identity)
    log.note(absolutePath(of: files.data).flatMap { PendingLog.Origin(data, path: $0) })
    _ = unlink(FileDisk.temporaryPath(of: files.index))
    let disk = FileDisk(data: data, index: index, indexPath: files.index)
    let append: AppendUpper<FileDisk>
    do throws(UpperOpenError) {
      append = try AppendUpper(
        disk: disk, log: log, header: header, indexHeader: indexHeaderBytes, deviceBytes: deviceBytes,
        compactionFloor: compactionFloor)
    } catch {
      switch error {
      case .layer(let error): throw .layer(path: files.index, error)
      case .system(let error): throw .system(call: "bringing it in order", path: files.index, error)
      }
    }
    var report = append.report
    report.voidEntries += voided
    report.hadTwoSizes =
      header.virtualSize != indexHeader.virtualSize && header.virtualSize != 0 && indexHeader.virtualSize != 0
    if header.virtualSize != deviceBytes || indexHeader.virtualSize != deviceBytes {
      try UpperError.describing("writing the size of the device into its headers", files.data) { () throws(Errno) in
        try append.takingTurn { () throws(Errno) in try append.writeSize(deviceBytes) }
      }
    }
    var adopted = header
    adopted.virtualSize = deviceBytes
    return Upper(
      files: files, header: adopted, disk: disk, append: append, pendingPath: pendingPath, recovery: report,
      removedLogs: orphans.map(\.line))
  }

  private static func absolutePath(of path: String) -> String? {
    guard let resolved = realpath(path, nil) else { return nil }
    defer { free(resolved) }
    return String(cString: resolved)
  }

  /// Opens a sparse layer, whose files were opened and locked.
  private static func openSparse(
    _ files: UpperFiles, _ data: consuming Descriptor, _ index: consuming Descriptor, _ header: LayerRecord,
    _ defaultVirtualSize: UInt64, _ lowers: LowerLayers?
  ) throws(UpperError) -> Upper {
    let deviceBytes = try deviceBytes(header.virtualSize, defaultVirtualSize, path: files.data)
    try UpperFiles.requireHoles(data, files.data)
    let disk = FileDisk(data: data, index: index, indexPath: files.index)
    let sparse: SparseUpper<FileDisk>
    do throws(UpperOpenError) {
      sparse = try SparseUpper(disk: disk, header: header, deviceBytes: deviceBytes, lowers: lowers)
    } catch {
      switch error {
      case .layer(let error): throw .layer(path: files.data, error)
      case .system(let error): throw .system(call: "looking for its data", path: files.data, error)
      }
    }
    // Nothing can have been written to one without a size.
    if header.virtualSize == 0, sparse.index.dataSectors > 0 {
      throw .unfitFileSystem(path: files.data, reason: "it does not tell holes from data (SEEK_DATA)")
    }
    var adopted = header
    adopted.virtualSize = deviceBytes
    if header.virtualSize != deviceBytes {
      try UpperError.describing("writing the size of the device into its header", files.data) { () throws(Errno) in
        try sparse.writeSize(deviceBytes)
      }
    }
    return Upper(files: files, header: adopted, disk: disk, sparse: sparse)
  }

  private static func requireParent(
    _ header: LayerRecord, _ parentUUID: LayerUUID?, path: String
  ) throws(UpperError) {
    if let parentUUID, !parentUUID.isNull, !header.parentUUID.isNull, header.parentUUID != parentUUID {
      throw .otherParent(path: path, expected: parentUUID, found: header.parentUUID)
    }
  }

  /// The size of the device, which the header says, or else the layers below.
  private static func deviceBytes(
    _ stored: UInt64, _ defaultVirtualSize: UInt64, path: String
  ) throws(UpperError) -> UInt64 {
    let deviceBytes = stored == 0 ? defaultVirtualSize : stored
    if deviceBytes == 0 { throw .noVirtualSize(path: path) }
    if deviceBytes > SegmentMap.maxVirtualSize {
      throw .invalidSize(
        path: path, bytes: deviceBytes, reason: "an index can address \(SegmentMap.maxVirtualSize) bytes at most")
    }
    return deviceBytes
  }

  private static func openForWriting(_ path: String) throws(UpperError) -> Descriptor {
    do throws(Errno) { return try Descriptor.open(path, O_RDWR) } catch {
      switch error.rawValue {
      case EROFS, EACCES, EPERM: throw .notWritable(path: path, error)
      default: throw .system(call: "opening it for writing", path: path, error)
      }
    }
  }

  private static func openFile(_ path: String) throws(UpperError) -> Descriptor {
    let file = try openForWriting(path)
    let status = try UpperError.describing("looking at it", path) { () throws(Errno) in try file.status() }
    if status.st_mode & S_IFMT != S_IFREG { throw .notRegularFile(path: path) }
    return file
  }

  private static func size(of file: borrowing Descriptor, path: String) throws(UpperError) -> UInt64 {
    do throws(Errno) { return UInt64(try file.status().st_size) } catch {
      throw .system(call: "looking at it", path: path, error)
    }
  }

  /// Milliseconds for somebody who has ended to let go of a layer.
  private static let lockPatience = 1000

  /// A process that has ended, or has just closed the file, may have it locked for a moment more: as long as a child that it
  /// forked has not closed it, or somebody looks at its descriptors. Then nobody who is alive has it locked.
  private static func lock(_ file: borrowing Descriptor, path: String) throws(UpperError) {
    let deadline = Deadline(milliseconds: lockPatience)
    while flock(file.rawValue, LOCK_EX | LOCK_NB) != 0 {
      let error = Errno.last
      guard error == .again else { throw .system(call: "locking it", path: path, error) }
      let holder = lockHolder(of: file)
      let isHeld = holder.map { kill($0, 0) == 0 || Errno.last != .noProcess } ?? false
      if isHeld || deadline.hasPassed { throw .inUse(path: path, pid: isHeld ? holder : nil) }
      usleep(1000)
    }
  }

  /// Who has the lock on a file, as far as `/proc/locks` tells.
  private static func lockHolder(of file: borrowing Descriptor) -> Int32? {
    guard let status = try? file.status(), let bytes = try? readFile("/proc/locks") else { return nil }
    for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") {
      // 1: FLOCK  ADVISORY  WRITE 1234 fe:00:5678 0 EOF
      let fields = line.split(separator: " ")
      guard fields.count >= 6, fields[1] == "FLOCK", fields[5].split(separator: ":").last == "\(status.st_ino)",
        let pid = Int32(fields[4]), pid > 0
      else { continue }
      return pid
    }
    return nil
  }

  private static func read(
    _ file: borrowing Descriptor, at offset: UInt64, path: String
  ) throws(UpperError) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: LayerRecord.size)
    do throws(Errno) {
      let count = try bytes.read(from: file, at: offset)
      return Array(bytes.prefix(count))
    } catch { throw .system(call: "reading it", path: path, error) }
  }

  private static func readHeader(_ file: borrowing Descriptor, path: String) throws(UpperError) -> LayerRecord {
    let bytes = try read(file, at: 0, path: path)
    do throws(LSMTError) { return try LayerRecord(parsing: bytes.span.bytes, as: .header) } catch {
      throw .layer(path: path, error)
    }
  }

  private static func readIndexHeader(
    _ file: borrowing Descriptor, size: UInt64, path: String
  ) throws(UpperError) -> (LayerRecord, [UInt8]) {
    let bytes = try read(file, at: 0, path: path)
    do throws(LSMTError) {
      let header = try decodeIndexLog(bytes.span.bytes).header
      let count = (size - UInt64(LayerRecord.size)) / UInt64(Segment.size)
      guard count <= IndexLog.maxEntries else { throw .tooManyEntries(count: count, limit: IndexLog.maxEntries) }
      return (header, bytes)
    } catch { throw .layer(path: path, error) }
  }

  /// Whether the data file ends with the trailer of a layer sealed in place. A device may hold such layers, and the last
  /// thing written to it may be the end of one; but that speaks of another place and of another layer.
  private static func hasTrailer(
    _ file: borrowing Descriptor, of header: LayerRecord, path: String
  ) throws(UpperError) -> Bool {
    let size = try size(of: file, path: path)
    guard size >= UInt64(2 * LayerRecord.size) else { return false }
    let bytes = try read(file, at: size - UInt64(LayerRecord.size), path: path)
    guard let trailer = try? LayerRecord(parsing: bytes.span.bytes, as: .trailer), trailer.isSealed,
      trailer.uuid == header.uuid, trailer.indexCount <= IndexLog.maxEntries
    else { return false }
    // What is written to the device lies before the end of a sparse one, and is none of its own.
    if header.isSparse, trailer.indexOffset < UInt64(LayerRecord.size) + header.virtualSize { return false }
    let sector = UInt64(sectorSize)
    let stored = (trailer.indexCount * UInt64(Segment.size) + sector - 1) / sector * sector
    return trailer.indexOffset <= size && trailer.indexOffset + stored == size - UInt64(LayerRecord.size)
  }
}

extension [UInt8] {
  fileprivate mutating func read(from file: borrowing Descriptor, at offset: UInt64) throws(Errno) -> Int {
    let result: Result<Int, Errno> = withUnsafeMutableBytes { buffer in
      do throws(Errno) { return .success(try file.readFully(into: buffer, at: offset)) } catch {
        return .failure(error)
      }
    }
    return try result.get()
  }
}
