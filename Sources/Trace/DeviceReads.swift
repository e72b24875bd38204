/// A read of the disk as another program tells of it.
public struct DeviceRead: Equatable, Sendable {
  /// Microseconds since that program began; 0 when it does not say.
  public let microseconds: UInt64
  /// Bytes of the disk, at least 1.
  public let range: Range<UInt64>

  /// A read by its parts.
  public init(microseconds: UInt64, range: Range<UInt64>) {
    self.microseconds = microseconds
    self.range = range
  }
}

/// Reads of one disk, in the order of the file, from a text of another program.
public struct DeviceReads: Equatable, Sendable {
  /// What was read, repeated reads included.
  public private(set) var reads: [DeviceRead] = []

  /// Parses a whole file of ``TraceFormat/ranges``, ``TraceFormat/blkparse`` or ``TraceFormat/iolog``; no other has reads.
  ///
  /// - Throws: `badLine`, `tooMany`.
  public init(parsing text: RawSpan, as format: TraceFormat) throws(TraceError) {
    self = try text.withUnsafeBytes { text throws(TraceError) in try DeviceReads(text, format) }
  }

  private init(_ text: UnsafeRawBufferPointer, _ format: TraceFormat) throws(TraceError) {
    switch format {
    case .ranges: try parseRanges(text)
    case .blkparse: try parseBlkparse(text)
    case .iolog: try parseIolog(text)
    case .warmblk, .overlaybd, .json: preconditionFailure("not a text of reads")
    }
  }

  private mutating func parseRanges(_ text: UnsafeRawBufferPointer) throws(TraceError) {
    var lines = TextLines(text)
    while let line = lines.next() {
      var words = line
      guard let first = words.word(), first[0] != UInt8(ascii: "#") else { continue }
      guard let offset = first.decimal, let count = words.decimal(), words.word() == nil else {
        throw line.bad("it is not OFFSET LENGTH, two numbers of bytes: \(line.bytes.excerpt)")
      }
      try add(line, at: 0, offset, count)
    }
  }

  /// Adds a read that `line` tells of.
  mutating func add(_ line: TextLine, at microseconds: UInt64, _ offset: UInt64, _ count: UInt64) throws(TraceError) {
    guard count > 0 else { throw line.bad("0 bytes at \(offset): a read has one at least") }
    let (end, overflow) = offset.addingReportingOverflow(count)
    guard !overflow, end <= Int64.max else { throw line.bad("\(count) bytes at \(offset) are beyond any disk") }
    guard microseconds <= Int64.max else { throw line.bad("\(microseconds) microseconds: no clock goes that far") }
    guard reads.count < AccessTrace.accessesMax else {
      throw .tooMany("reads", count: UInt64(reads.count) + 1, limit: AccessTrace.accessesMax)
    }
    reads.append(DeviceRead(microseconds: microseconds, range: offset..<end))
  }
}
