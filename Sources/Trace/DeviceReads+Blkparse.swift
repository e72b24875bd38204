/// What blkparse prints without `-f`:
///
///       7,0    1        1     0.004140727    25  C  RS 512 + 128 [0]
///     device  CPU  number  seconds          PID  action, kind, sector + sectors
///
/// Requests that were made (`Q`) or completed (`C`) count, if their kind has an `R`. Both may be there: what is read a
/// second time changes nothing. A summary ends the requests.
enum Blkparse {
  private static let sector: UInt64 = 512
  private static let summary: [StaticString] = ["CPU", "Total", "Throughput", "Events"]

  /// Whether a word is a device: `259,0`.
  static func isDevice(_ word: UnsafeRawBufferPointer) -> Bool {
    guard let comma = word.firstIndex(of: UInt8(ascii: ",")) else { return false }
    return UnsafeRawBufferPointer(rebasing: word[..<comma]).decimal != nil
      && UnsafeRawBufferPointer(rebasing: word[(comma + 1)...]).decimal != nil
  }

  /// Whether a line begins what blkparse prints after all requests.
  static func isSummary(_ word: UnsafeRawBufferPointer) -> Bool {
    summary.contains { start in start.withUTF8Buffer { word.starts(with: $0) } }
  }

  /// A request that counts.
  struct Request {
    var microseconds: UInt64
    var offset: UInt64
    var count: UInt64
  }

  /// Parses a line after its device; nil for what is no read.
  static func request(_ line: TextLine, _ words: inout TextLine) throws(TraceError) -> Request? {
    guard words.decimal() != nil, words.decimal() != nil, let time = words.word().flatMap(microseconds),
      words.decimal() != nil, let action = words.word()
    else { throw line.bad("it is no line of blkparse: \(line.bytes.excerpt)") }
    guard action.isText("Q") || action.isText("C") else { return nil }
    guard let kind = words.word() else { throw line.bad("it has no kind, such as R or WS: \(line.bytes.excerpt)") }
    guard kind.contains(UInt8(ascii: "R")) else { return nil }
    guard let start = words.decimal(), words.word()?.isText("+") == true, let count = words.decimal(),
      start <= UInt64(Int64.max) / sector, count <= UInt64(Int64.max) / sector
    else { throw line.bad("it does not say which sectors are read, as in 512 + 8: \(line.bytes.excerpt)") }
    return count == 0 ? nil : Request(microseconds: time, offset: start * sector, count: count * sector)
  }

  /// Seconds and nanoseconds, as in `1.500000000`.
  private static func microseconds(_ word: UnsafeRawBufferPointer) -> UInt64? {
    guard let dot = word.firstIndex(of: UInt8(ascii: ".")), word.count - dot == 10,
      let seconds = UnsafeRawBufferPointer(rebasing: word[..<dot]).decimal, seconds <= UInt64(Int32.max),
      let nanoseconds = UnsafeRawBufferPointer(rebasing: word[(dot + 1)...]).decimal
    else { return nil }
    return seconds * 1_000_000 + nanoseconds / 1000
  }
}

extension DeviceReads {
  mutating func parseBlkparse(_ text: UnsafeRawBufferPointer) throws(TraceError) {
    var lines = TextLines(text)
    var device: UnsafeRawBufferPointer?
    while let line = lines.next() {
      var words = line
      guard let first = words.word(), first[0] != UInt8(ascii: "#") else { continue }
      if Blkparse.isSummary(first) { return }
      guard Blkparse.isDevice(first) else { throw line.bad("it is no line of blkparse: \(line.bytes.excerpt)") }
      guard let request = try Blkparse.request(line, &words) else { continue }
      if let device, !device.elementsEqual(first) {
        throw line.bad("a read of \(first.excerpt) after reads of \(device.excerpt): keep the lines of one device")
      }
      device = first
      try add(line, at: request.microseconds, request.offset, request.count)
    }
  }
}
