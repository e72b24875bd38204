import Posix
import Testing
import TestSupport

@testable import FileSystems

@Suite struct StargzTests {
  private static let names = [
    "usr/", "usr/bin/", "usr/bin/tool", "./etc/config", "usr/lib/ü mlaut", ".prefetch.landmark", "usr/bin/other",
    "etc/last",
  ]
  private static let first = ["/usr/bin/tool", "/etc/config", "/usr/lib/ü mlaut"]

  private func contents(_ making: Stargz.Making, external: Bool = false) throws -> StargzContents {
    let scratch = try Scratch()
    let (layer, contents) = try Stargz.make(making, in: scratch)
    return try StargzContents(layer: try Disk.file(layer), external: external ? try Disk.file(contents) : nil)
  }

  private func paths(_ contents: StargzContents) -> [String] {
    contents.files.map { String(decoding: $0, as: UTF8.self) }
  }

  @Test(
    "files in front of the landmark, in the layer's order whatever the table's is", arguments: ["today", "old"],
    [0, 1, 6, 9])
  func prioritized(footer: String, level: Int) throws {
    for shared in [false, true] {
      let found = try contents(.init(names: Self.names, footer: footer, shared: shared, level: level))
      #expect(found.landmark == .prefetch && paths(found) == Self.first)
    }
  }

  /// `estargz.Build` of stargz-snapshotter 0.12.0, of `usr/bin/tool`, `etc/config` and `usr/bin/other` with the last two as
  /// prioritized files, the last one first. base64.
  private static let published = """
    H4sIAAAAAAAC/+zRQQpCIRDG8TmKJ3jzzejkeQqC2iTM890/aGlUK8XA/+YTdCO/jal7AJDNXgug3feziIhSMBrQsdezh0BeSv32
    7td9+7k/aeNjd57OP2tc/uP8L/cHz+SvKS//wf6l3q7ezf+U0kd/UWn8o0WhgOXfvWcAAAD//90GJSYACAAAH4sIAAAAAAAC/+zA
    WxHCMAAEQL5XTe/SvPwbQwczbNTwmpbtuPJIpDLklSlLthy5+mi0OvTVqUu3Hr3G4/P3S74BAAD//1vIIGEAAgAAH4sIAAAAAAAC
    /9LTTy1J1megKTAwMDAwNzUF0wYGBug0JtvQ0MzMlEHBlIEOoLS4JLFIQYGhKD+/BJ86QvLonhsiABL/yfl5aZnptIx/MxMTPPFv
    ihb/xgamBgwKBqPxT3MACAAA//8NqcDUAAQAAB+LCAAAAAAAAv9Kzs9L42IYBSMV6BUUpaalliRn6OUk5qXkJhZlU98OAwjARRsY
    GBgisQ0YDAyNTE3MGRQM6BEApcUliUUMBgbU9uQQAYAAAAD//9wz7SQABAAAH4sIAAAAAAAC/+JnGAUjGejplxYX6Sdl5umX5Ofn
    0MYOAwMDAzMTEzBtYGCAThsYGJgisQ0YDAyNjc3MGBQM6BEApcUliUUKCgxF+fkl+NQRkkf33BABgAAAAP//Icy/VQAEAAAfiwgA
    AAAAAAL/KsnPz+FiGAUjFejplxYX6Sdl5umXlGfm0cYOAwMDAzMTEzBtYGCATmOyDc0MDIwYFAyRHJefn0Mbx5UWlyQWKSgwFOXn
    l+BTR0ge3XNDBAACAAD//wk2+aMABAAAH4sIAAAAAAAC/+yTy27bPBCFvZWewtA68M/7xet/nRcoupjhDG01iRRQci8J8u6FYqdF
    0touYCNAAJ+NyAPxDPXNaBihrB4WbUf8ffFl6LvZ+SW22vfUUtqX9daXygo1m4vZO2gzEZgJce6P/CB6rKvmK5eh7btmOZdXddVw
    N5aWh2Y5/1RX1WNdVVXTwR03y3mz+K+5ejbGH/fPBrVl59z1NDkm6u1+M3C53h0rfT/uXluVfnP/yq+r6unqL5U2Q/mXaoeOY9ud
    I6If11ze5BRe7ZyhfZicIF/HKrHd9zkPPE5wddg61K54mJxmWIOybmmQExrIySCi8MIxBsrKsFYYojJR2egkZxNAQRJsINpEnkAK
    jh7s7iJpvelu/j97+D46PKZ3nIapWuq73K6ONcIe6YNW+/oQSJBJASQ7QG+BVQ4SMEuW7FxiCeiRrU4eQ1bGgpFR+JyMRQ1ByIN9
    ODl8D5n7wpnHtF7cQkd3UG6O8ZFvePwi9AcPSoJj0s4GkKCZJKdolDcUUMaobIp6ujZ6IgQVTVQaKCKxFjkkDAd5nBx+7K8d+/72
    1FmxSu5h43w0gShCJgeZrTAahVCRLIBPWeSAKiiDkKXLJovoyQgKWjChC44Osjk5/Cibb233hs0aCt223cv4TMvrQ0x/M5uK1dXn
    +ml20UUXXXTRR9HPAAAA//9Qb+apAA4AAB+LCAQAAAAAAP8aAFNHFgAwMDAwMDAwMDAwMDAwMjcwU1RBUkdaAQAA//8AAAAAAAAA
    AA==
    """

  @Test("a layer that the published tool made")
  func madeElsewhere() throws {
    let scratch = try Scratch()
    let layer = try runProgram(["base64", "-d", try scratch.write("base64", Self.published)])
    let found = try StargzContents(layer: Disk(layer))
    #expect(found.landmark == .prefetch && paths(found) == ["/usr/bin/other", "/etc/config"])
  }

  @Test("a table in another image")
  func external() throws {
    let making = Stargz.Making(names: Self.names, footer: "external")
    let found = try contents(making, external: true)
    #expect(found.landmark == .prefetch && paths(found) == Self.first)
    do {
      _ = try contents(making)
      Issue.record("there is no table in the layer")
    } catch let error as FileSystemError {
      #expect("\(error)".contains("--toc"))
    }
  }

  @Test("no landmark, and the one that says that there is nothing")
  func without() throws {
    #expect(try contents(.init(names: Self.names.filter { !$0.contains("landmark") })).landmark == .absent)
    let none = try contents(.init(names: [".no.prefetch.landmark"] + Self.names.filter { !$0.hasPrefix(".pre") }))
    #expect(none.landmark == .none && none.files.isEmpty)
  }

  @Test("a name of two lines is counted, not listed")
  func unlisted() throws {
    let found = try contents(.init(names: ["a\nb", "c", ".prefetch.landmark"]))
    #expect(paths(found) == ["/c"] && found.unlisted == 1)
  }

  @Test("a table of many thousand entries is read within seconds")
  func large() throws {
    let names = (0..<20_000).map { "usr/share/some/long/directory/of/files/number_\($0)" }
    let clock = ContinuousClock()
    var found: StargzContents?
    let scratch = try Scratch()
    let (layer, _) = try Stargz.make(.init(names: names + [".prefetch.landmark"]), in: scratch)
    let time = try clock.measure { found = try StargzContents(layer: try Disk.file(layer)) }
    expectSame(found.map(paths), names.map { "/" + $0 }, "the names")
    #expect(time < .seconds(60))
  }

  @Test("what is no eStargz is refused, and said what it is")
  func others() throws {
    let scratch = try Scratch()
    let plain = try scratch.write("plain", "text of some length, to be compressed")
    try runProgram(["gzip", "-k", plain])
    for (path, words) in [
      (plain, "is no gzip"), (plain + ".gz", "without a table"), (try scratch.write("empty", ""), "0 bytes"),
    ] {
      do {
        _ = try StargzContents(layer: try Disk.file(path))
        Issue.record("\(path) is taken for a layer")
      } catch let error as FileSystemError {
        #expect("\(error)".contains(words))
      }
    }
  }

  @Test("damaged layers are refused or read, and nothing worse")
  func damaged() throws {
    var random = SplitMix.announced("damaged eStargz layers")
    let scratch = try Scratch()
    let (layer, _) = try Stargz.make(.init(names: Self.names), in: scratch)
    let sound = try readFile(layer)
    for _ in 0..<500 {
      var bytes = sound
      for _ in 0..<Int.random(in: 1...4, using: &random) {
        bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
      }
      if Bool.random(using: &random) { bytes.removeFirst(Int.random(in: 0..<bytes.count, using: &random)) }
      do throws(FileSystemError) { _ = try StargzContents(layer: Disk(bytes)) } catch {
        #expect(!error.description.isEmpty)
      }
    }
  }

  @Test("inflate gives what zlib compressed, whatever its level and strategy")
  func inflate() throws {
    var random = SplitMix.announced("bytes to be compressed")
    let scratch = try Scratch()
    var data = random.bytes(70_000) + [UInt8](repeating: 7, count: 100_000)
    for _ in 0..<3000 { data += Array("word\(Int.random(in: 0..<500, using: &random)) ".utf8) }
    let source = try scratch.write("data", data)
    let script = """
      import sys, zlib, struct
      data = open(sys.argv[1], 'rb').read()
      number = 0
      for size in (0, 1, 300, 66000, len(data)):
          for level in (0, 1, 5, 9):
              for strategy in range(5):
                  packer = zlib.compressobj(level, zlib.DEFLATED, 31, 8, strategy)
                  open(sys.argv[1] + '.' + str(number), 'wb').write(packer.compress(data[:size]) + packer.flush() + b'rest')
                  number += 1
      """
    try runProgram(["python3", "-c", script, source])
    for number in 0..<100 {
      let size = [0, 1, 300, 66000, data.count][number / 20]
      let packed = try readFile("\(source).\(number)")
      let member = try Gzip(packed, at: 0, limit: data.count)
      expectSame(member.content, Array(data.prefix(size)), "number \(number)")
      #expect(member.end == packed.count - 4)
      if size > 0 { #expect(throws: FileSystemError.self) { try Gzip(packed, at: 0, limit: size - 1) } }
      #expect(throws: FileSystemError.self) { try Gzip(Array(packed.dropLast(5)), at: 0, limit: size) }
    }
  }
}
