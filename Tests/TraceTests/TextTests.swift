import Testing

@testable import Trace

@Suite("What other tools recorded")
struct TextTests {
  private func format(_ text: String) throws(TraceError) -> TraceFormat {
    let bytes = Array(text.utf8)
    return try TraceFormat(prefix: bytes.span.bytes)
  }

  private func reads(_ text: String) throws(TraceError) -> [DeviceRead] {
    let bytes = Array(text.utf8)
    return try DeviceReads(parsing: bytes.span.bytes, as: try format(text)).reads
  }

  private func problem(_ text: String) -> String? {
    do throws(TraceError) {
      _ = try reads(text)
      return nil
    } catch { return error.description }
  }

  private func read(_ microseconds: UInt64, _ offset: UInt64, _ count: UInt64) -> DeviceRead {
    DeviceRead(microseconds: microseconds, range: offset..<offset + count)
  }

  /// What blkparse 1.2.0 printed on Linux 7.3, of a loop device.
  static let blkparse = """
      7,0    0        1     0.000000000   141  Q  RS 512 + 128 [dd]
      7,0    0        2     0.001538663   141  G  RS 512 + 128 [dd]
      7,0    0        3     0.002190355   141  D  RS 512 + 128 [dd]
      7,0    1        1     0.004140727    25  C  RS 512 + 128 [0]
      7,0    0        7     0.101702328   142  Q  RA 800 + 8 [dd]
      7,0    0        9     0.101946001   142  P   N [dd]
      7,0    0       10     0.102111117   142  U   N [dd] 1
      7,0    1        3     1.102653080    25  C  RA 800 + 8 [0]
      7,0    0       22     1.207707669   143  Q  WS 72 + 8 [dd]
    CPU0 (t):
     Reads Queued:           5,      176KiB\t Writes Queued:           1,        4KiB

    Total (t):
    """

  /// What fio 3.33 wrote, with `wait` in version 2 as its documentation has it.
  static let iolog3 = """
    fio version 3 iolog
    17 /tmp/f add
    140 /tmp/f open
    146 /tmp/f read 503808 4096
    181 /tmp/f write 0 4096
    500176 /tmp/f read 6209536 4096
    500239 /tmp/f close
    """
  static let iolog2 = """
    fio version 2 iolog
    /tmp/f add
    /tmp/f open
    /tmp/f read 503808 4096
    /tmp/f wait 1500 0
    /tmp/f sync
    /tmp/f read 6209536 4096
    /tmp/f wait 500 0
    /tmp/f read 0 512
    /tmp/f close
    """

  @Test("offsets and lengths")
  func ranges() throws {
    #expect(try format("# a comment\n\n 12 34\n") == .ranges)
    #expect(try reads("# a comment\n\n 12\t34\r\n0 1") == [read(0, 12, 34), read(0, 0, 1)])
    #expect(problem("1 2\n\n3\n")?.contains("line 3: it is not OFFSET LENGTH") == true)
    #expect(problem("1 2\n3 4 5\n")?.contains("line 2") == true)
    #expect(problem("1 2\n3 -4\n")?.contains("line 2") == true)
    #expect(problem("1 2\n3 0\n")?.contains("0 bytes at 3") == true)
    #expect(problem("1 2\n9223372036854775807 1\n")?.contains("beyond any disk") == true)
    #expect(problem("1 2\n18446744073709551616 1\n")?.contains("line 2") == true)
  }

  @Test("blkparse: reads that were asked for or done, in sectors")
  func blkparse() throws {
    #expect(try format(Self.blkparse) == .blkparse)
    #expect(
      try reads(Self.blkparse) == [
        read(0, 262_144, 65_536), read(4140, 262_144, 65_536), read(101_702, 409_600, 4096),
        read(1_102_653, 409_600, 4096),
      ])
    let start = "  7,0    0        1     0.000000000   141  Q  RS 512 + 128 [dd]\n"
    #expect(problem(start + "nonsense\n")?.contains("line 2: it is no line of blkparse: nonsense") == true)
    #expect(problem(start + "  7,0 0 1 0.5 141 Q R 1 + 1\n")?.contains("line 2") == true)
    #expect(problem(start + "  7,0 0 1 0.500000000 141 Q R 1 1\n")?.contains("which sectors") == true)
    #expect(problem(start + "  8,0 0 1 0.500000000 141 Q R 1 + 1\n")?.contains("8,0 after reads of 7,0") == true)
    #expect(problem("7,0 0 1 0.000000000 1 C R 36028797018963968 + 1\n") != nil)
  }

  @Test("iologs of fio, with times of both kinds")
  func iolog() throws {
    #expect(try format(Self.iolog2) == .iolog && format(Self.iolog3) == .iolog)
    #expect(try reads(Self.iolog3) == [read(146, 503_808, 4096), read(500_176, 6_209_536, 4096)])
    #expect(
      try reads(Self.iolog2) == [read(0, 503_808, 4096), read(1500, 6_209_536, 4096), read(2000, 0, 512)])
    #expect(problem("fio version 1 iolog\n0, 1, 2\n")?.contains("version 1; versions 2 and 3") == true)
    #expect(problem("fio\n")?.contains("line 1") == true)
    #expect(problem(Self.iolog3 + "\n9 /tmp/f jump 1 2\n")?.contains("line 8: jump is no action") == true)
    #expect(problem(Self.iolog3 + "\n9 /tmp/g read 1 2\n")?.contains("/tmp/g after reads of /tmp/f") == true)
    #expect(problem("fio version 3 iolog\n1 /f wait 2 0\n")?.contains("wait is no action") == true)
    #expect(problem("fio version 3 iolog\n/f read 1 2\n")?.contains("TIME FILE ACTION") == true)
    #expect(problem("fio version 2 iolog\n/f read 1\n")?.contains("how much") == true)
  }

  @Test("anything else is named by its first line, without what would command a terminal")
  func unknown() {
    #expect(
      problem("/usr/bin/python3\n/usr/lib/libc.so.6\n")?.contains("line 1 is of no trace: /usr/bin/python3") == true)
    #expect(problem("\n\n\u{1B}[2J 1\n")?.contains("line 3 is of no trace: ?[2J 1;") == true)
    #expect(problem(" \n") == "trace: there is nothing in it")
    #expect(problem("") == "trace: there is nothing in it")
    #expect(problem(String(repeating: "x", count: 100_000))?.count ?? 1000 < 300)
  }
}

@Suite("Traces as JSON lines")
struct JSONTests {
  private func parse(_ text: String) throws(TraceError) -> AccessTrace {
    let bytes = Array(text.utf8)
    return try AccessTrace(parsingJSON: bytes.span.bytes)
  }

  private func lines(_ trace: AccessTrace) -> String {
    var text = ""
    trace.forEachJSONLine { text += $0 }
    return text
  }

  @Test("the text is what its description says, both ways")
  func golden() throws {
    var trace = AccessTraceTests.example
    trace.imageName = "a \"web\" \\ \u{7} é"
    let text = lines(trace)
    #expect(
      text == #"""
        {"trace":"warmblk","version":1,"image":"a \"web\" \\ \u0007 é","deviceSize":4194304,"runs":3,"durationMicroseconds":81234,"recordedAt":1795522606,"layers":[{"identity":"sha256:0a1","size":1048576,"compressed":false},{"identity":"uuid:0B-1","size":300000,"compressed":true}]}
        {"microseconds":0,"device":4096,"deviceBytes":4096,"layer":0,"stored":8192,"storedBytes":4096,"runs":3}
        {"microseconds":1500,"device":1048576,"deviceBytes":2048,"layer":1,"stored":4608,"storedBytes":1377}
        {"microseconds":1500,"layer":1,"stored":0,"storedBytes":512,"runs":2}
        {"microseconds":70000,"device":0,"deviceBytes":512}

        """#)
    #expect(try parse(text) == trace)
    let bytes = Array(text.utf8)
    let format = try TraceFormat(prefix: bytes.span.bytes)
    #expect(format == .json)
  }

  @Test("a line that is not as it should be is named")
  func badLines() {
    let header = lines(AccessTrace(imageName: "", deviceSize: 1 << 20, layers: AccessTraceTests.example.layers))
    func problem(_ line: String, after start: String? = nil) -> String? {
      do throws(TraceError) {
        _ = try parse((start ?? header) + line)
        return nil
      } catch { return error.description }
    }
    #expect(problem(#"{"microseconds":1,"device":0,"deviceBytes":512}"#) == nil)
    let bad = [
      "{", "[]", #"{"device":0,"deviceBytes":512}"#, #"{"microseconds":1,"device":0}"#,
      #"{"microseconds":1,"device":0,"deviceBytes":512,"extra":1}"#,
      #"{"microseconds":-1,"device":0,"deviceBytes":512}"#, #"{"microseconds":1.5,"device":0,"deviceBytes":512}"#,
      #"{"microseconds":1,"device":0,"deviceBytes":0}"#,
      #"{"microseconds":1,"device":0,"deviceBytes":9223372036854775807}"#,
      #"{"microseconds":1,"device":9223372036854775807,"deviceBytes":1}"#,
      #"{"microseconds":1,"device":0,"deviceBytes":512,"layer":4096,"stored":0,"storedBytes":512}"#,
      #"{"microseconds":1,"device":0,"deviceBytes":512,"runs":4294967296}"#,
      #"{"microseconds":1,"microseconds":1,"device":0,"deviceBytes":512}"#,
    ]
    for line in bad { #expect(problem("\n" + line)?.contains("line 3: ") == true, "\(line)") }
    // What stands on its own and is not of this trace.
    #expect(problem(#"{"microseconds":1,"device":1048576,"deviceBytes":1}"#)?.contains("access 0 names") == true)
    #expect(
      problem(#"{"microseconds":1,"layer":2,"stored":0,"storedBytes":1}"#)?.contains("access 0 is of layer 2") == true)
    #expect(problem(#"{"microseconds":1}"#)?.contains("neither disk nor layer") == true)
    #expect(problem(#"{"trace":"other"}"#, after: "")?.contains("line 1: \"trace\" is not") == true)
    #expect(problem(#"{"trace":"warmblk","version":2}"#, after: "")?.contains("\"version\" is 2") == true)
    #expect(problem("", after: "") == "trace: there is nothing in it")
  }
}
