import Glibc
import Posix
import Testing
import ZFile
import TestSupport

@testable import Image

@Suite(.enabled(if: Fixtures.folder != nil, Comment(rawValue: Fixtures.absence)))
struct FixtureTests {
  /// Every file that holds layer `number`, in all the compressions and wrappings that upstream's tools wrote, and tars
  /// of both forms made of each that is not wrapped.
  static func variants(of number: Int, in scratch: Scratch) throws -> [String] {
    let prefix = "l\(number)."
    var files = try Fixtures.names(in: "lsmt", prefix).filter { $0.hasSuffix(".lsmt") || $0.hasSuffix(".sealed") }
    files += try Fixtures.names(in: "zfile", prefix)
    files += try Fixtures.names(in: "tar", prefix)
    var paths = files.map(Fixtures.path)
    for file in files where !file.hasSuffix(".tar") {
      let payload = try Fixtures.bytes(file)
      let name = file.split(separator: "/").joined(separator: ".")
      paths.append(try scratch.write("\(name).pax.tar", paxTar(payload)))
      paths.append(try scratch.write("\(name).ustar.tar", try ustarTar(payload, scratch)))
    }
    return paths
  }

  static func paxTar(_ payload: [UInt8]) -> [UInt8] {
    let size = UInt64(payload.count)
    return TarWrapper.header(payloadSize: size) + payload + TarWrapper.ending(payloadSize: size)
  }

  /// By the machine's tar, which shares no code with ours.
  static func ustarTar(_ payload: [UInt8], _ scratch: Scratch) throws -> [UInt8] {
    try scratch.write("overlaybd.commit", payload)
    return try runProgram(["tar", "--format=ustar", "-C", scratch.path, "-cf", "-", "overlaybd.commit"])
  }

  /// The merged view of layers 0...top as the independent model has it.
  struct Expected {
    static let step = 1 << 16
    let bytes: [UInt8]
    /// Where the pieces of `step` bytes begin that are not all zeroes.
    let interesting: [Int]

    init(_ layers: String) throws {
      let image = try runProgram(["zstd", "-dcq", Fixtures.path("lsmt/expected.\(layers).img.zst")])
      #expect(sha256(image) == (try Fixtures.digest("lsmt/expected.\(layers).img.sha256")))
      let zeroes = Bytes(count: Self.step)
      memset(zeroes.all.baseAddress!, 0, Self.step)
      bytes = image
      interesting = image.withUnsafeBytes { bytes in
        stride(from: 0, to: bytes.count, by: Self.step).filter {
          memcmp(bytes.baseAddress! + $0, zeroes.all.baseAddress!, Self.step) != 0
        }
      }
    }
  }

  @Test("every variant of a layer, alone and in every combination with the others, reads as the model says")
  func everyCombination() throws {
    let scratch = try Scratch()
    let zero = try Self.variants(of: 0, in: scratch)
    let one = try Self.variants(of: 1, in: scratch)
    let two = try Self.variants(of: 2, in: scratch)
    #expect(zero.count > 30 && one.count > 12 && two.count > 12)
    let expected0 = try Expected("0")
    let expected01 = try Expected("01")
    let expected012 = try Expected("012")
    for bottom in zero { try check([bottom], expected0, scratch) }
    for (bottom, middle) in product(zero, one) { try check([bottom, middle], expected01, scratch, sampled: true) }
    for middle in one { try check([zero[0], middle], expected01, scratch) }
    for (middle, top) in product(one, two) { try check([zero[0], middle, top], expected012, scratch, sampled: true) }
    for top in two { try check([zero[1], one[1], top], expected012, scratch) }
    for (bottom, top) in product(zero, two) { try check([bottom, one[0], top], expected012, scratch, sampled: true) }
  }

  private func product(_ a: [String], _ b: [String]) -> [(String, String)] {
    a.flatMap { first in b.map { (first, $0) } }
  }

  /// With `sampled`, only pieces are compared in which there is something but zeroes; else everything.
  private func check(_ layers: [String], _ expected: Expected, _ scratch: Scratch, sampled: Bool = false) throws {
    let image = try Image.open(configPath: try scratch.config(layers))
    try #require(image.virtualSize == UInt64(expected.bytes.count))
    var reader = ImageReader(image)
    let buffer = Bytes(count: Expected.step)
    let pieces = sampled ? expected.interesting : Array(stride(from: 0, to: expected.bytes.count, by: Expected.step))
    try expected.bytes.withUnsafeBytes { bytes in
      for offset in pieces {
        try reader.read(into: buffer.all, at: UInt64(offset))
        try #require(memcmp(buffer.all.baseAddress!, bytes.baseAddress! + offset, buffer.count) == 0, "\(layers)")
      }
    }
  }

  @Test("small and unaligned reads give the same bytes as large ones")
  func unaligned() throws {
    let scratch = try Scratch()
    var random = SplitMix.announced("unaligned reads")
    let expected = try Expected("012").bytes
    let layers = ["zfile/l0.lib.lz4.64k.crc1.ow1.zf", "lsmt/l1.sealed", "zfile/l2.lib.zstd.8k.crc0.ow0.zf"]
    let image = try Image.open(configPath: try scratch.config(layers.map(Fixtures.path)))
    var reader = ImageReader(image)
    let ends = [0, 131072, 1 << 20, 8 << 20, expected.count]
    for _ in 0..<4000 {
      let bound = ends[1...].randomElement(using: &random)!
      let start = Int.random(in: 0..<bound, using: &random)
      let count = Int.random(in: 0...min(70_000, expected.count - start), using: &random)
      let buffer = Bytes(count: count)
      try reader.read(into: buffer.all, at: UInt64(start))
      try #require([UInt8](buffer.all) == Array(expected[start..<start + count]), "\(start) + \(count)")
    }
    #expect(throws: ImageError.self) {
      try reader.read(into: Bytes(count: 2).all, at: UInt64(expected.count - 1))
    }
    #expect(throws: ImageError.self) { try reader.read(into: Bytes(count: 2).all, at: .max) }
  }

  @Test("layers beyond 2 TiB read as the fixture's README says")
  func beyond2TiB() throws {
    let scratch = try Scratch()
    let image = try Image.open(configPath: try scratch.config([Fixtures.path("quirks/over2TiB.lsmt")]))
    #expect(image.virtualSize == 4 << 40)
    var reader = ImageReader(image)
    let written: [UInt64] = [0, 1, 100, 1 << 32 - 1, 1 << 32, 1 << 32 + 5, 1 << 32 + 100, 1 << 32 + 5000]
    let sector = Bytes(count: 512)
    for (number, position) in written.enumerated() {
      try reader.read(into: sector.all, at: position * 512)
      #expect(sector.all.allSatisfy { $0 == UInt8(number + 1) }, "sector \(position)")
      for neighbour in [position &- 1, position + 1] where neighbour < 1 << 33 && !written.contains(neighbour) {
        try reader.read(into: sector.all, at: neighbour * 512)
        #expect(sector.all.allSatisfy { $0 == 0 }, "sector \(neighbour)")
      }
    }
  }

  @Test("a layer without segments is a device of zeroes")
  func empty() throws {
    let scratch = try Scratch()
    let image = try Image.open(configPath: try scratch.config([Fixtures.path("quirks/empty.lsmt")]))
    #expect(image.layers[0].segmentCount == 0)
    #expect(try contents(of: image).allSatisfy { $0 == 0 })
    let above = try Image.open(
      configPath: try scratch.config(["lsmt/l0.lsmt", "quirks/empty.lsmt"].map(Fixtures.path)))
    let below = try Expected("0").bytes
    #expect(try contents(of: above) == Array(below.prefix(Int(above.virtualSize))))
  }

  @Test("upstream's 64 GiB base layer opens, and its content has the known digest")
  func baseLayer() throws {
    let scratch = try Scratch()
    try runProgram(["tar", "-xzf", Fixtures.path("ext4/ext4_64.tar.gz"), "-C", scratch.path, "--no-same-owner"])
    let image = try Image.open(configPath: try scratch.config([scratch("ext4_64")]))
    let layer = image.layers[0]
    #expect(image.virtualSize == 64 << 30)
    #expect(layer.blobSize == 541_937_664)
    #expect(layer.segmentCount == 8323)
    #expect(layer.record.indexOffset == 541_798_400)
    var reader = ImageReader(image)
    let superblock = Bytes(count: 2)
    try reader.read(into: superblock.all, at: 1080)
    #expect([UInt8](superblock.all) == [0x53, 0xef])
    try reader.read(into: superblock.all, at: image.virtualSize - 2)
    // Every CRC on the way through the whole blob.
    let blob = try layer.reader()
    let step = Bytes(count: 1 << 20)
    let parts = try scratch.write("plain", [])
    let plain = try Descriptor.open(parts, O_WRONLY)
    for offset in stride(from: 0, to: layer.blobSize, by: step.count) {
      let count = Int(min(UInt64(step.count), layer.blobSize - offset))
      try blob.read(into: step.part(0..<count), at: offset)
      try plain.writeFully(UnsafeRawBufferPointer(step.part(0..<count)), at: offset)
    }
    let digest = String(decoding: try runProgram(["sha256sum", parts]).prefix(64), as: UTF8.self)
    #expect(digest == "799dbd74cbcfbd7f37611057130b20fda0e1e671280df97cc3a05d73620d5ac7")
  }
}
