import Testing

@testable import Trace

@Suite("The map of a trace")
struct HeatMapTests {
  private func trace(_ accesses: [(UInt64, Range<UInt64>)]) -> AccessTrace {
    AccessTrace(
      imageName: "<web>", deviceSize: 1 << 30, layers: [],
      accesses: accesses.map { TraceAccess(microseconds: $0.0, device: $0.1, layer: nil, stored: 0..<0) })
  }

  @Test("bytes are counted where and when they are read")
  func cells() {
    let map = HeatMap(trace([(0, 1000..<2000), (99, 4000..<5000), (50, 2000..<3000)]), columns: 4, rows: 4)
    #expect(map.device == 1000..<5000 && map.axis == .time(until: 99))
    let counted = (0..<4).map { row in (0..<4).map { map.bytes(row: row, column: $0) } }
    #expect(counted == [[1000, 0, 0, 0], [0, 0, 1000, 0], [0, 0, 0, 0], [0, 0, 0, 1000]])
    #expect(map.text() == ["   █", "    ", "  █ ", "█   "])
  }

  @Test("a trace without times is drawn in its order, one that spans rows in all of them")
  func order() {
    let map = HeatMap(trace([(0, 0..<4096), (0, 0..<1024)]), columns: 2, rows: 4)
    #expect(map.axis == .order(accesses: 2))
    #expect((0..<4).map { map.bytes(row: $0, column: 0) } == [1024, 1024, 1024, 1024])
    #expect((0..<4).map { map.bytes(row: $0, column: 1) } == [1024, 0, 0, 0])
  }

  @Test("less is lighter, nothing is blank, and no trace at all has a map")
  func heat() {
    let map = HeatMap(trace([(0, 0..<1 << 24), (9, 1 << 24..<1 << 24 + 512)]), columns: 2, rows: 1)
    #expect(map.heat(row: 0, column: 0) == 1)
    #expect((0.05..<0.5).contains(map.heat(row: 0, column: 1)))
    #expect(map.text() == ["█░"])
    let empty = HeatMap(trace([]), columns: 3, rows: 2)
    #expect(empty.text() == ["   ", "   "] && empty.device.isEmpty)
  }

  @Test("the picture is whole, and what it quotes cannot break it")
  func picture() {
    let map = HeatMap(trace([(0, 0..<512), (5, 1024..<2048)]), columns: 10, rows: 10)
    let text = map.svg(title: "<web> & \"x\"\u{1}", subtitle: "s", bytes: { "\($0) B" }, time: { "\($0) µs" })
    #expect(text.hasPrefix("<svg xmlns=") && text.hasSuffix("</svg>\n"))
    #expect(text.contains("&lt;web&gt; &amp; &quot;x&quot;?"))
    #expect(text.contains("<title>205 B</title>") || text.contains("<title>204 B</title>"))
    #expect(!text.contains("href") && !text.contains("script"))
  }
}
