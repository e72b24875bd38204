@testable import FileSystems

/// eStargz layers, and their parts for themselves, because a checksum protects them: gzip, its compression, the tar, the table.
enum TheFuzzer: Fuzzer {
  private static let limit = 1 << 20

  static func run(_ input: [UInt8]) {
    attempt { () throws(FileSystemError) in _ = try StargzContents(layer: Disk(input), external: Disk(input)) }
    attempt { () throws(FileSystemError) in _ = try StargzContents(layer: Disk(input)) }
    attempt { () throws(FileSystemError) in
      let member = try Gzip(input, at: 0, limit: limit)
      require(member.end <= input.count && member.content.count <= limit, "\(member.end) of \(input.count)")
    }
    attempt { () throws(FileSystemError) in
      var inflate = Inflate(input, from: 0, limit: limit)
      try inflate.run()
      require(inflate.end <= input.count && inflate.output.count <= limit, "\(inflate.end) of \(input.count)")
    }
    attempt { () throws(FileSystemError) in
      let contents = try StargzContents(member: input)
      for path in contents.files { require(path.first == UInt8(ascii: "/") && !path.contains(0x0A), "\(path)") }
    }
  }

  private static func attempt(_ body: () throws(FileSystemError) -> Void) {
    do throws(FileSystemError) { try body() } catch { require(!error.description.isEmpty, "an error without words") }
  }

  static func seeds() -> [[UInt8]] {
    let table = #"""
      {"version":1,"entries":[{"name":"a/","type":"dir"},{"name":"a/b","type":"reg","offset":100,"innerOffset":3},
      {"name":".prefetch.landmark","type":"reg","offset":200},{"name":"c","type":"reg","offset":300}]}
      """#
    let member = tar(Array(table.utf8))
    let packed = stored(member)
    let place = Array(repeating: UInt8(ascii: "0"), count: 16) + Array("STARGZ".utf8)
    let external = Array("STARGZEXTERNALTOC".utf8)
    // Fixed codes: "aaaaaaaaaa", and dynamic ones: of a text of some lines.
    let fixed: [UInt8] = [0x4B, 0x84, 0x03, 0x00]
    let footers = [[0x53, 0x47, 22, 0] + place, [0x53, 0x47, 17, 0] + external, place].map { stored([], extra: $0) }
    return [member, packed, fixed] + footers.map { packed + $0 }
  }

  /// A gzip member that is not compressed.
  private static func stored(_ content: [UInt8], extra: [UInt8] = []) -> [UInt8] {
    var bytes: [UInt8] = [0x1F, 0x8B, 8, extra.isEmpty ? 0 : 4, 0, 0, 0, 0, 0, 0xFF]
    func add(_ value: UInt32, _ count: Int) {
      for byte in 0..<count { bytes.append(UInt8(value >> UInt32(8 * byte) & 0xFF)) }
    }
    if !extra.isEmpty {
      add(UInt32(extra.count), 2)
      bytes += extra
    }
    bytes.append(1)
    add(UInt32(content.count), 2)
    add(UInt32(~UInt16(content.count)), 2)
    bytes += content
    add(Gzip.crc(content), 4)
    add(UInt32(content.count), 4)
    return bytes
  }

  private static func tar(_ content: [UInt8]) -> [UInt8] {
    var header = [UInt8](repeating: 0, count: 512)
    func set(_ text: String, _ offset: Int) {
      header.replaceSubrange(offset..<offset + text.utf8.count, with: text.utf8)
    }
    func octal(_ value: Int, _ count: Int) -> String {
      let digits = String(value, radix: 8)
      return String(repeating: "0", count: count - digits.utf8.count) + digits
    }
    set("stargz.index.json", 0)
    set(octal(content.count, 11), 124)
    set("0", 156)
    set("ustar\u{0}00", 257)
    set("        ", 148)
    set(octal(header.reduce(0) { $0 + Int($1) }, 6) + "\u{0}", 148)
    return header + content + [UInt8](repeating: 0, count: (512 - content.count % 512) % 512)
  }
}
