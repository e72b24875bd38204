/// What a file with a trace in it is. Its bytes tell, not its name.
public enum TraceFormat: String, Sendable, CaseIterable {
  /// ``AccessTrace``.
  case warmblk
  /// ``OverlaybdTrace``.
  case overlaybd
  /// ``AccessTrace`` as JSON, a value a line.
  case json
  /// `OFFSET LENGTH`, bytes of the disk, a line for each read.
  case ranges
  /// What blkparse prints of a recording of blktrace.
  case blkparse
  /// What fio's `write_iolog` writes, version 2 or 3.
  case iolog

  /// Bytes of a file that are enough to tell.
  public static let prefixSize = 65536

  /// Finds out by how a file begins.
  ///
  /// - Throws: `unknownFormat`.
  public init(prefix: RawSpan) throws(TraceError) {
    if AccessTrace.isAccessTrace(prefix: prefix) {
      self = .warmblk
    } else if OverlaybdTrace.isTrace(prefix: prefix) {
      self = .overlaybd
    } else {
      self = try prefix.withUnsafeBytes { text throws(TraceError) in try Self.ofText(text) }
    }
  }

  private static func ofText(_ text: UnsafeRawBufferPointer) throws(TraceError) -> TraceFormat {
    var lines = TextLines(text)
    while let line = lines.next() {
      var words = line
      guard let first = words.word() else { continue }
      if first[0] == UInt8(ascii: "#") { continue }
      if first[0] == UInt8(ascii: "{") { return .json }
      if first.isText("fio") { return .iolog }
      if Blkparse.isDevice(first) { return .blkparse }
      if first.decimal != nil, words.decimal() != nil, words.word() == nil { return .ranges }
      throw .unknownFormat(line: line.number, text: line.bytes.excerpt)
    }
    throw .unknownFormat(line: 0, text: "")
  }
}
