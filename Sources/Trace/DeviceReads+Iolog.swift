/// What fio's `write_iolog` writes (its HOWTO, "Trace file format v2" and "v3"):
///
///     fio version 3 iolog                       fio version 2 iolog
///     134 /dev/ublkb0 open                      /dev/ublkb0 open
///     138 /dev/ublkb0 read 503808 4096          /dev/ublkb0 read 503808 4096
///
/// Version 3 has microseconds in front, as fio 3.33 writes it; version 2 has `wait` with microseconds instead. What reads
/// nothing is left out.
extension DeviceReads {
  mutating func parseIolog(_ text: UnsafeRawBufferPointer) throws(TraceError) {
    var lines = TextLines(text)
    var version: UInt64?
    var file: UnsafeRawBufferPointer?
    var time: UInt64 = 0
    while let line = lines.next() {
      var words = line
      guard let first = words.word(), first[0] != UInt8(ascii: "#") else { continue }
      guard let version else {
        version = try Self.iologVersion(line)
        continue
      }
      var name = first
      if version == 3 {
        guard let stamp = first.decimal, let next = words.word() else {
          throw line.bad("it is not TIME FILE ACTION: \(line.bytes.excerpt)")
        }
        (time, name) = (stamp, next)
      }
      guard let action = words.word() else { throw line.bad("it has no action: \(line.bytes.excerpt)") }
      if action.isText("wait"), version == 2 {
        guard let wait = words.decimal() else { throw line.bad("it does not say how long to wait") }
        let (sum, overflow) = time.addingReportingOverflow(wait)
        guard !overflow else { throw line.bad("no clock goes that far") }
        time = sum
        continue
      }
      guard action.isText("read") else {
        if Self.otherActions.contains(where: { action.isText($0) }) { continue }
        throw line.bad("\(action.excerpt) is no action that fio knows: \(line.bytes.excerpt)")
      }
      guard let offset = words.decimal(), let count = words.decimal(), words.word() == nil else {
        throw line.bad("it does not say where is read and how much: \(line.bytes.excerpt)")
      }
      if let file, !file.elementsEqual(name) {
        throw line.bad("a read of \(name.excerpt) after reads of \(file.excerpt): keep the lines of one file")
      }
      file = name
      try add(line, at: time, offset, count)
    }
  }

  private static let otherActions: [StaticString] = ["add", "open", "close", "write", "sync", "datasync", "trim"]

  private static func iologVersion(_ line: TextLine) throws(TraceError) -> UInt64 {
    var words = line
    guard words.word()?.isText("fio") == true, words.word()?.isText("version") == true, let version = words.decimal(),
      words.word()?.isText("iolog") == true, words.word() == nil
    else { throw line.bad("it is not the first line of an iolog, fio version 3 iolog: \(line.bytes.excerpt)") }
    guard version == 2 || version == 3 else {
      throw line.bad("an iolog of version \(version); versions 2 and 3 can be read")
    }
    return version
  }
}
