import JSON
import ZFile

/// Which files an eStargz layer wants first. They lie in front of a landmark in the layer, in the order in which they were
/// used when somebody watched the image run.
public struct StargzContents: Equatable, Sendable {
  /// What marks the end of these files.
  public enum Landmark: Equatable, Sendable {
    /// `.prefetch.landmark`.
    case prefetch
    /// `.no.prefetch.landmark`: none.
    case none
    /// No landmark is there: stargz of old, or nobody has watched.
    case absent
  }

  /// What the layer has.
  public let landmark: Landmark
  /// The files, as absolute paths in the order of the layer.
  public let files: [[UInt8]]
  /// Files whose paths no list can have, because there is a line's end in them.
  public let unlisted: Int

  /// Bytes of a table of contents, of some hundred thousand files.
  private static let limit = 128 << 20
  private static let tableName = "stargz.index.json"

  /// Reads the table of contents of `layer`, or `external` if the layer's is in another image: the layer of that
  /// image, as the registry has it.
  ///
  /// - Throws: `notStargz`, `damagedContents`, `read`.
  public init(layer: Disk, external: Disk? = nil) throws(FileSystemError) {
    if let external {
      try self.init(member: try Self.member(external, from: 0, to: external.size))
      return
    }
    switch try StargzFooter.read(layer) {
    case .offset(let offset, let footer): try self.init(member: try Self.member(layer, from: offset, to: footer))
    case .external: throw .notStargz("its table of contents is in another image; name the layer of that with --toc")
    }
  }

  private static func member(_ disk: Disk, from start: UInt64, to end: UInt64) throws(FileSystemError) -> [UInt8] {
    guard end - start <= UInt64(limit) else {
      throw .damagedContents("has \(end - start) bytes; \(limit) are the most that are read")
    }
    return try Gzip(try disk.bytes(at: start, count: Int(end - start)), at: 0, limit: limit).content
  }

  /// - Parameter member: a tar with one file.
  init(member: [UInt8]) throws(FileSystemError) {
    let tar: TarWrapper?
    do throws(ZFileError) {
      tar = try TarWrapper(parsing: member.span.bytes, fileSize: UInt64(member.count))
    } catch {
      throw .damagedContents("is in a tar that cannot be read: \(error)")
    }
    guard let tar else { throw .damagedContents("is in no tar") }
    let start = Int(tar.payloadOffset)
    let name = member[start - 512..<start - 412].prefix { $0 != 0 }
    guard name.elementsEqual(Self.tableName.utf8) else {
      throw .damagedContents("is called \(FileList.shown(name)) instead of \(Self.tableName)")
    }
    guard let json = JSONValue(Array(member[start..<start + Int(tar.payloadSize)])) else {
      throw .damagedContents("is no JSON")
    }
    try self.init(json)
  }
}

extension StargzContents {
  /// A place in the layer: the byte offset of a gzip member, and where in its content.
  private struct Place: Comparable {
    let offset: UInt64
    let inner: UInt64

    init?(_ entry: JSONValue) {
      // Entries without content have none.
      guard let offset = entry["offset"]?.integer, offset > 0 else { return nil }
      self.offset = offset
      inner = entry["innerOffset"]?.integer ?? 0
    }

    static func < (one: Place, other: Place) -> Bool { (one.offset, one.inner) < (other.offset, other.inner) }
  }

  /// The table: an object with a version and an array of entries.
  init(_ json: JSONValue) throws(FileSystemError) {
    guard json["version"]?.integer == 1, let entries = json["entries"]?.elements else {
      throw .damagedContents("has no entries of version 1")
    }
    var files: [(place: Place, path: [UInt8])] = []
    var end: Place?
    var hasNone = false
    for entry in entries {
      guard let text = entry["name"]?.string, let type = entry["type"]?.string else {
        throw .damagedContents("has an entry without name or type")
      }
      guard type == "reg" else { continue }
      let path = try Self.path(text)
      if path == Array("/.no.prefetch.landmark".utf8) { hasNone = true }
      guard let place = Place(entry) else { continue }
      if path == Array("/.prefetch.landmark".utf8) { end = place } else { files.append((place, path)) }
    }
    guard !hasNone, let end else {
      (landmark, self.files, unlisted) = (hasNone ? .none : .absent, [], 0)
      return
    }
    // The sort is stable: entries of one place stay in the table's order.
    let first = files.filter { $0.place < end }.sorted { $0.place < $1.place }.map(\.path)
    landmark = .prefetch
    self.files = first.filter { !$0.contains(UInt8(ascii: "\n")) }
    unlisted = first.count - self.files.count
  }

  /// Absolute, without `.` and `..`.
  private static func path(_ name: String) throws(FileSystemError) -> [UInt8] {
    let parts = Array(name.utf8).split(separator: UInt8(ascii: "/")).filter { !$0.elementsEqual(".".utf8) }
    guard !parts.contains(where: { $0.elementsEqual("..".utf8) || $0.contains(0) }) else {
      throw .damagedContents("has an entry of the name \(FileList.shown(Array(name.utf8)))")
    }
    return parts.reduce(into: []) { $0 += [UInt8(ascii: "/")] + $1 }
  }
}
