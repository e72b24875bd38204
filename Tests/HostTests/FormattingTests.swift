import Testing

@testable import Host

@Suite("Output for people")
struct FormattingTests {
  @Test("Sizes are short, and never larger than they are")
  func sizes() {
    let cases: [(UInt64, String)] = [
      (0, "0 B"), (512, "512 B"), (1023, "1023 B"), (1024, "1 KiB"), (1536, "1.5 KiB"), (64 << 20, "64 MiB"),
      ((2 << 30) - 1, "1.9 GiB"), (2047 << 30, "1.9 TiB"), (3 << 40, "3 TiB"), (.max, "15.9 EiB"),
      ((150 << 20) + 1, "150 MiB"),
    ]
    for (bytes, text) in cases { #expect(formatBytes(bytes) == text) }
  }

  @Test("Tables have aligned columns and no blanks at the end of a line")
  func tables() {
    #expect(
      formatTable([["ID", "NAME", "N"], ["0", "a", "10"], ["12", "bcde", "5"]], rightAligned: [0, 2])
        == "ID  NAME   N\n 0  a     10\n12  bcde   5")
    #expect(formatTable([["a", "b"], ["ccc", "d"]]) == "a    b\nccc  d")
    #expect(formatTable([]) == "")
  }
}
