import Testing

@testable import FileSystems

@Suite struct ListTests {
  private func paths(_ text: String) throws -> [String] {
    try FileList(parsing: Array(text.utf8)).entries.map { String(decoding: $0.path, as: UTF8.self) }
  }

  @Test("a list is a path on each line; empty lines and comments are passed over")
  func lines() throws {
    #expect(try paths("/a\n\n# comment\nb c \n/#file\n/ü+@\t") == ["/a", "b c ", "/#file", "/ü+@\t"])
    #expect(try FileList(parsing: Array("#\n\n/x".utf8)).entries == [.init(path: Array("/x".utf8), line: 3)])
    #expect(try paths("").isEmpty)
    #expect(try paths("\r\n") == ["\r"])
  }

  @Test("a slash, or a slash and a star, at the end means the whole tree")
  func trees() {
    let cases: [(String, Bool, String)] = [
      ("/a/", true, "/a/"), ("/a/*", true, "/a/"), ("/*", true, "/"), ("/", true, "/"), ("/a*", false, "/a*"),
      ("/a", false, "/a"), ("*", false, "*"),
    ]
    for (path, isTree, target) in cases {
      let entry = FileList.Entry(path: Array(path.utf8))
      #expect(entry.isTree == isTree && entry.target == Array(target.utf8), "\(path)")
    }
  }

  @Test("paths are shown without what a terminal would obey")
  func shown() {
    #expect(FileList.shown(Array("/ä b".utf8)) == "/ä b")
    #expect(FileList.shown(Array("/a\u{1b}[2J".utf8)) == "/a\\x1b[2J")
    #expect(FileList.shown([0x2F, 0xFF, 0x0A]) == "/\\xff\\x0a")
  }

  @Test("ranges are kept in order, joined, and no block twice")
  func ranges() throws {
    let disk = Disk([UInt8](repeating: 0, count: 1000))
    var list = RangeList(blockSize: 8, diskSize: 1000)
    for range in [80..<88, 88..<90, 8..<16, 0..<1000, 5..<6] as [DiskRange] { try list.add(range, disk) }
    #expect(list.ranges == [80..<96, 8..<16, 0..<8, 16..<80, 96..<1000])
    #expect(list.total == 1000)
  }
}
