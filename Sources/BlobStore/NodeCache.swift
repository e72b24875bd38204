import CLinux
import Glibc
import Posix
import Registry

/// The folder where all processes of the node keep chunks of blobs.
///
///     DIR/lock               held by the one process that makes room, or replaces a damaged map
///     DIR/sha256/HEX.map     `ChunkMap` of the blob with that digest; every process that uses it has a shared flock
///     DIR/sha256/HEX.data    its bytes, sparse
///
/// Nothing here is ever waited for on the way to a disk: what a killed process leaves behind is a lock that the kernel
/// has dropped, or a temporary file.
public struct NodeCache: Sendable {
  /// The folder, absolute.
  public let path: String
  /// What the data may take on the disk, bytes.
  public let limit: UInt64

  var blobFolder: String { "\(path)/sha256" }
  var lockPath: String { "\(path)/lock" }
  func mapPath(_ hex: String) -> String { "\(blobFolder)/\(hex).map" }
  /// Where the bytes of the blob with that sha256 are.
  public func dataPath(_ hex: String) -> String { "\(blobFolder)/\(hex).data" }

  /// Uses the folder at `path`, makes it where it is missing, and tries whether it can be written to.
  public init(path: String, limit: UInt64) throws(BlobError) {
    self.path = path
    self.limit = limit
    if let device = try Self.servedDevice(below: path) { throw .cacheOnOwnDevice(path: path, device: device) }
    do throws(Errno) {
      try makeDirectories("\(path)/sha256")
      _ = try Descriptor.open("\(path)/lock", O_RDWR | O_CREAT, mode: 0o600)
    } catch {
      throw .cache(what: "cannot be used", path: path, error)
    }
  }

  /// A ublk disk that the folder is on, or would be made on: fetching a chunk for a disk of ours could then wait for that
  /// disk.
  private static func servedDevice(below path: String) throws(BlobError) -> String? {
    var status = stat()
    if stat(path, &status) != 0 {
      guard Errno.last == .noEntry, let end = path.lastIndex(of: "/"), path != "/" else {
        throw .cache(what: "cannot be looked at", path: path, .last)
      }
      return try servedDevice(below: end == path.startIndex ? "/" : String(path[..<end]))
    }
    let number = "\(clinux_major(UInt64(status.st_dev))):\(clinux_minor(UInt64(status.st_dev)))"
    guard let link = realpath("/sys/dev/block/\(number)", nil) else { return nil }
    defer { free(link) }
    return String(cString: link).split(separator: "/").first { $0.hasPrefix("ublkb") }.map(String.init)
  }

  // MARK: Blobs

  /// The chunks of the blob with sha256 `hex`, of `size` bytes; made where there are none.
  func open(_ hex: String, size: UInt64) throws(BlobError) -> ChunkFile {
    guard size <= ChunkMap.blobBytesMax else { throw .tooLarge(blob: "sha256:\(hex)", size: size) }
    var other: UInt64?
    for _ in 0..<100 {
      if let file = try existing(hex) {
        if file.blobSize == size { return file }
        other = file.blobSize
        // The digest has one size, but a map without any chunk does not know it.
        if file.presentCount > 0 { break }
        _ = consume file
        // Whoever has it open will soon have learned that it is not that size.
        if !removeIfUnused(hex) { usleep(10_000) }
      } else {
        try create(hex, size: size)
      }
    }
    if let other {
      throw .sizeMismatch(digest: "sha256:\(hex)", expected: size, found: other, where: mapPath(hex))
    }
    throw .cache(what: "is taken away again and again", path: mapPath(hex), .busy)
  }

  /// The size of the blob, when the cache has something of it.
  func knownSize(_ hex: String) throws(BlobError) -> UInt64? {
    guard let file = try existing(hex), file.presentCount > 0 else { return nil }
    return file.blobSize
  }

  /// The chunks of that blob; nil when the cache has none. A damaged map is taken away.
  func existing(_ hex: String) throws(BlobError) -> ChunkFile? {
    guard BlobLocation.isDigest("sha256:\(hex)") else { throw .notDigest("sha256:\(hex)") }
    let path = mapPath(hex)
    do throws(Errno) {
      let file: Descriptor
      do throws(Errno) { file = try Descriptor.open(path, O_RDWR) } catch .noEntry { return nil }
      if flock(file.rawValue, LOCK_SH | LOCK_NB) != 0 {
        // Somebody makes or removes it this instant.
        usleep(1000)
        return nil
      }
      let status = try file.status()
      // Whatever is at the path now has another file of bytes, or none.
      guard Self.isStill(status, at: path) else { return nil }
      let header = try file.bytes(count: ChunkMap.headerBytes)
      let sha256 = Self.bytes(ofHex: hex)
      guard let size = ChunkMap.blobSize(ofHeader: header, sha256: sha256, fileSize: UInt64(status.st_size)) else {
        try removeDamaged(hex, file)
        return nil
      }
      let data = try Descriptor.open(dataPath(hex), O_RDWR | O_CREAT, mode: 0o600)
      // Cut or lengthened by somebody: missing bytes read as zeroes then, which no chunk's CRC takes for its own.
      if UInt64(try data.status().st_size) != size { try data.truncate(to: size) }
      let map = try ChunkMap(file: file.rawValue, chunks: ChunkMap.chunkCount(ofBlob: size))
      return ChunkFile(blobSize: size, map: map, data: data, claims: file)
    } catch {
      throw .cache(what: "cannot be opened", path: path, error)
    }
  }

  /// Whether what was opened is what is at `path`: with its lock held it stays there.
  static func isStill(_ opened: stat, at path: String) -> Bool {
    var now = stat()
    return stat(path, &now) == 0 && now.st_ino == opened.st_ino && now.st_dev == opened.st_dev
  }

  /// Makes an empty map. That somebody else was faster is no error.
  private func create(_ hex: String, size: UInt64) throws(BlobError) {
    let temporary = "\(mapPath(hex)).\(getpid()).\(monotonicNanoseconds()).tmp"
    defer { _ = unlink(temporary) }
    do throws(Errno) {
      let file = try Descriptor.open(temporary, O_RDWR | O_CREAT | O_EXCL, mode: 0o600)
      // Says that somebody is at it. Whoever tidies up may have been faster: then it is gone, and made again.
      if flock(file.rawValue, LOCK_SH | LOCK_NB) != 0 { return }
      // btrfs would want new space for each change of a page; other file systems do not know the flag.
      _ = clinux_set_nocow(file.rawValue)
      try file.write(ChunkMap.header(blobSize: size, sha256: Self.bytes(ofHex: hex)))
      // The words in blocks of their own from the start: a store to a page that the disk has no room for is SIGBUS.
      try file.allocate(ChunkMap.byteCount(chunks: ChunkMap.chunkCount(ofBlob: size)))
      if link(temporary, mapPath(hex)) != 0, Errno.last != .exists, Errno.last != .noEntry { throw .last }
    } catch {
      throw .cache(what: "cannot be made", path: mapPath(hex), error)
    }
  }

  /// `file` is what is at the map's path, with a shared lock, and its header is damaged.
  private func removeDamaged(_ hex: String, _ file: borrowing Descriptor) throws(Errno) {
    // The lock is given up before the other one is taken: somebody may have been in between.
    guard flock(file.rawValue, LOCK_EX | LOCK_NB) == 0 else { throw .busy }
    guard Self.isStill(try file.status(), at: mapPath(hex)) else { return }
    try removeFiles(hex)
  }

  /// Only with the exclusive lock of the map that is at the path.
  func removeFiles(_ hex: String) throws(Errno) {
    // The map last: without it nobody would know the bytes of an older one from those of a new one.
    if unlink(dataPath(hex)) != 0, Errno.last != .noEntry { throw .last }
    if unlink(mapPath(hex)) != 0, Errno.last != .noEntry { throw .last }
  }

  /// The digests of all blobs that have a map, without `sha256:`.
  public func blobs() throws(BlobError) -> [String] {
    do throws(Errno) {
      return try listDirectory(blobFolder).compactMap { name in
        let hex = String(name.dropLast(4))
        return name.hasSuffix(".map") && BlobLocation.isDigest("sha256:\(hex)") ? hex : nil
      }.sorted()
    } catch {
      throw .cache(what: "cannot be listed", path: blobFolder, error)
    }
  }

  /// 32 bytes of 64 hexadecimal digits; shorter when they are none.
  static func bytes(ofHex hex: String) -> [UInt8] {
    let digits = hex.utf8.compactMap { UInt8(String(UnicodeScalar($0)), radix: 16) }
    return stride(from: 0, to: digits.count - 1, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
  }
}

extension Descriptor {
  /// The first `count` bytes; fewer where the file ends.
  fileprivate borrowing func bytes(count: Int) throws(Errno) -> [UInt8] {
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 8)
    defer { buffer.deallocate() }
    return [UInt8](buffer.prefix(try readFully(into: buffer, at: 0)))
  }

  fileprivate borrowing func write(_ bytes: [UInt8]) throws(Errno) {
    try bytes.span.bytes.withUnsafeBytes { bytes throws(Errno) in try writeFully(bytes, at: 0) }
  }

  /// Gives the file `count` bytes of space; those that it did not have are zero.
  fileprivate borrowing func allocate(_ count: Int) throws(Errno) {
    while true {
      let result = posix_fallocate(rawValue, 0, count)
      if result == 0 { return }
      if result != EINTR { throw Errno(rawValue: result) }
    }
  }
}
