import CLinux
import Glibc
import Posix
import Synchronization

extension NodeCache {
  /// What the cache holds of a blob.
  public struct Usage: Sendable {
    /// Its sha256.
    public let hex: String
    /// Bytes of the blob.
    public let blobSize: UInt64
    /// Bytes of it that are here, as the disk counts them.
    public let diskBytes: UInt64
    /// Chunks of it, of 1 KiB, that are here.
    public let presentChunks: Int
    /// Chunks that it has.
    public let chunks: Int
    /// Whether all of it was found to have its sha256.
    public let isTrusted: Bool
    /// When a chunk of it was read last, seconds since 1970.
    public let lastUse: Int64
    /// Whether a process has it open.
    public let isInUse: Bool
  }

  /// What is here of the blob with sha256 `hex`; nil when nothing is.
  public func usage(_ hex: String) throws(BlobError) -> Usage? {
    // Before we have it open ourselves.
    let isInUse = isInUse(hex)
    guard let file = try existing(hex) else { return nil }
    var present = 0
    var last: UInt32 = 0
    for chunk in 0..<file.chunkCount where file.view.word(chunk).isPresent {
      present += 1
      last = max(last, file.view.lastUse(chunk))
    }
    return Usage(
      hex: hex, blobSize: file.blobSize, diskBytes: diskBytes(hex), presentChunks: present, chunks: file.chunkCount,
      isTrusted: file.view.isTrusted, lastUse: Int64(last),
      isInUse: isInUse)
  }

  /// What is here of all blobs, the one that was read last first.
  public func usages() throws(BlobError) -> [Usage] {
    var usages: [Usage] = []
    for hex in try blobs() {
      if let usage = try usage(hex) { usages.append(usage) }
    }
    return usages.sorted { ($0.lastUse, $1.hex) > ($1.lastUse, $0.hex) }
  }

  /// Bytes that the disk has room for.
  public func freeBytes() throws(BlobError) -> UInt64 {
    var system = statvfs()
    guard statvfs(path, &system) == 0 else { throw .cache(what: "cannot be looked at", path: path, .last) }
    return UInt64(system.f_bavail) * UInt64(system.f_frsize)
  }

  /// Bytes that all data takes on the disk.
  public func diskBytes() throws(BlobError) -> UInt64 {
    try blobs().reduce(0) { $0 + diskBytes($1) }
  }

  private func diskBytes(_ hex: String) -> UInt64 {
    var status = stat()
    return stat(dataPath(hex), &status) == 0 ? UInt64(status.st_blocks) * 512 : 0
  }

  /// Whether some process has the blob open.
  private func isInUse(_ hex: String) -> Bool {
    guard let map = try? Descriptor.open(mapPath(hex), O_RDWR) else { return false }
    return flock(map.rawValue, LOCK_EX | LOCK_NB) != 0
  }

  // MARK: Making room

  /// Drops the spans of chunks that were not read for the longest time until the data takes at most nine tenths of the limit;
  /// nothing when it is below the limit. With `isFull`, because the disk has no room, a tenth of what is there goes in
  /// any case. Bytes freed.
  ///
  /// Chunks of open blobs go too: who reads one sees that it was dropped, and fetches it again. One process at a time
  /// does this; where another is at it, nothing happens.
  @discardableResult
  public func makeRoom(isFull: Bool = false) throws(BlobError) -> UInt64 {
    try alone { () throws(BlobError) in
      removeAbandoned()
      let used = try diskBytes()
      let target = min(used > limit ? limit - limit / 10 : used, isFull ? used - used / 10 : used)
      return target < used ? try dropOldest(used - target) : 0
    } ?? 0
  }

  /// Drops all chunks of blobs that no process has open, or, with `hex`, of this blob. Bytes freed; nil when another
  /// process makes room and does not come to an end.
  public func evict(_ hex: String? = nil) throws(BlobError) -> UInt64? {
    try alone(patience: 5000) { () throws(BlobError) in
      removeAbandoned()
      var freed: UInt64 = 0
      let all = if let hex { [hex] } else { try blobs() }
      for blob in all {
        if hex == nil, isInUse(blob) { continue }
        freed += try drop(blob) { _, _ in true }
      }
      return freed
    }
  }

  /// Ages of spans, counted, so that one pass finds the age from which on all must go, and a second drops them.
  private func dropOldest(_ bytes: UInt64) throws(BlobError) -> UInt64 {
    var ages: [UInt32: UInt64] = [:]
    let all = try blobs()
    for hex in all {
      guard let file = try existing(hex) else { continue }
      for chunks in file.spans {
        let bytes = file.presentBytes(of: chunks)
        if bytes > 0 { ages[file.view.lastUse(chunks.lowerBound), default: 0] += bytes }
      }
    }
    var older: UInt64 = 0
    var limit = UInt32.max
    for age in ages.keys.sorted() {
      if older + ages[age]! >= bytes {
        limit = age
        break
      }
      older += ages[age]!
    }
    // All that is older than the limit, and of what is as old only so much as is still wanted.
    var wanted = bytes - min(bytes, older)
    var freed: UInt64 = 0
    for hex in all {
      freed += try drop(hex) { use, size in
        if use < limit { return true }
        guard use == limit, wanted > 0 else { return false }
        wanted -= min(wanted, size)
        return true
      }
    }
    return freed
  }

  /// Drops the spans of a blob for which `chosen`, given the time of the last use and the bytes that are here, says so and
  /// of which nothing is being fetched; takes its files away if nothing is left that anybody uses. Bytes freed.
  private func drop(_ hex: String, _ chosen: (UInt32, UInt64) -> Bool) throws(BlobError) -> UInt64 {
    let freed = try dropChunks(hex, chosen)
    removeIfUnused(hex)
    return freed
  }

  private func dropChunks(_ hex: String, _ chosen: (UInt32, UInt64) -> Bool) throws(BlobError) -> UInt64 {
    guard let file = try existing(hex) else { return 0 }
    var freed: UInt64 = 0
    for chunks in file.spans {
      let bytes = file.presentBytes(of: chunks)
      if bytes > 0, chosen(file.view.lastUse(chunks.lowerBound), bytes) { freed += file.dropIfFree(chunks) }
    }
    return freed
  }

  /// Takes the files of a blob away that has no chunk and that no process has open; whether it did.
  @discardableResult
  func removeIfUnused(_ hex: String) -> Bool {
    guard let map = try? Descriptor.open(mapPath(hex), O_RDWR), flock(map.rawValue, LOCK_EX | LOCK_NB) == 0,
      let status = try? map.status(), Self.isStill(status, at: mapPath(hex))
    else { return false }
    guard let chunks = ChunkMap.chunkCount(ofMap: Int(status.st_size)),
      let memory = try? ChunkMap(file: map.rawValue, chunks: chunks),
      !(0..<chunks).contains(where: { memory.view.word($0).isPresent })
    else { return false }
    return (try? removeFiles(hex)) != nil
  }

  /// Takes away what processes that were killed left half made. Whoever is at one has its lock.
  private func removeAbandoned() {
    for name in (try? listDirectory(blobFolder)) ?? [] where name.hasSuffix(".tmp") {
      let path = "\(blobFolder)/\(name)"
      guard let file = try? Descriptor.open(path, O_RDWR), flock(file.rawValue, LOCK_EX | LOCK_NB) == 0 else {
        continue
      }
      _ = unlink(path)
    }
  }

  /// Runs `body` while no other process makes room; nil when one does for longer than `patience` ms.
  private func alone<T>(patience: Int = 0, _ body: () throws(BlobError) -> T) throws(BlobError) -> T? {
    let lock = try openLock()
    let number = lock.rawValue
    let deadline = Deadline(milliseconds: patience)
    guard deadline.wait(interval: 10, until: { flock(number, LOCK_EX | LOCK_NB) == 0 }) else { return nil }
    return try body()
  }

  private func openLock() throws(BlobError) -> Descriptor {
    do throws(Errno) { return try Descriptor.open(lockPath, O_RDWR | O_CREAT, mode: 0o600) } catch {
      throw .cache(what: "cannot be locked", path: lockPath, error)
    }
  }
}

extension ChunkFile {
  /// How many bytes of these chunks are here.
  fileprivate func presentBytes(of chunks: Range<Int>) -> UInt64 {
    chunks.reduce(0) { $0 + (view.word($1).isPresent ? UInt64(bytes(of: $1..<$1 + 1).count) : 0) }
  }
}
