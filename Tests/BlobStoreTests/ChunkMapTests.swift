import Glibc
import Posix
import Testing
import ZFile

@testable import BlobStore

@Suite struct ChunkMapTests {
  private static let sha256 = [UInt8](0..<32)
  private static let size: UInt64 = 0x1234_5678

  /// Written by hand; the CRC by a program of seven lines that goes bit by bit.
  private static let golden: [UInt8] =
    [0x57, 0x42, 0x4b, 0x4d, 0x41, 0x50, 0x00, 0x01]  // WBKMAP, version 1
    + [16, 0, 0, 0]  // chunks of 64 KiB
    + [0x35, 0x12, 0, 0]  // so many
    + [0x78, 0x56, 0x34, 0x12, 0, 0, 0, 0]  // bytes of the blob
    + Array(0..<32)
    + [0x83, 0x29, 0x10, 0x13]  // CRC-32C

  @Test("a map begins with the bytes that its description has")
  func header() {
    let header = ChunkMap.header(blobSize: Self.size, sha256: Self.sha256)
    #expect(header.count == 4096)
    #expect(Array(header[..<60]) == Self.golden)
    #expect(header[60...].allSatisfy { $0 == 0 })
    #expect(ChunkMap.chunkCount(ofBlob: Self.size) == 0x1235)
    #expect(ChunkMap.byteCount(chunks: 0x1235) == 4096 + 0x1235 * 12)
  }

  @Test("every bit of the header matters, and so does the length of the file")
  func damaged() {
    let header = ChunkMap.header(blobSize: Self.size, sha256: Self.sha256)
    let fileSize = UInt64(ChunkMap.byteCount(chunks: 0x1235))
    func size(_ bytes: [UInt8], _ fileSize: UInt64) -> UInt64? {
      ChunkMap.blobSize(ofHeader: bytes, sha256: Self.sha256, fileSize: fileSize)
    }
    #expect(size(header, fileSize) == Self.size)
    #expect(size(header, fileSize - 1) == nil && size(header, fileSize + 12) == nil && size(header, 0) == nil)
    #expect(size([], fileSize) == nil && size(Array(header[..<4095]), fileSize) == nil)
    for bit in 0..<60 * 8 {
      var bytes = header
      bytes[bit / 8] ^= 1 << UInt8(bit % 8)
      #expect(size(bytes, fileSize) == nil, "bit \(bit)")
    }
    #expect(ChunkMap.blobSize(ofHeader: header, sha256: Self.sha256.reversed(), fileSize: fileSize) == nil)
  }

  @Test(
    "sizes that no blob has are refused without arithmetic going wrong", arguments: [(1 << 40) + 1, .max, .max - 65534])
  func absurdSizes(size: UInt64) {
    var header = [UInt8](repeating: 0, count: 4096)
    header.replaceSubrange(..<60, with: Self.golden)
    withUnsafeBytes(of: size.littleEndian) { header.replaceSubrange(16..<24, with: $0) }
    #expect(ChunkMap.blobSize(ofHeader: header, sha256: Self.sha256, fileSize: 4096) == nil)
    #expect(throws: Errno.self) { try ChunkFile.inMemory(blobSize: size) }
  }

  @Test("chunks at the boundaries", arguments: [0, 1, 65535, 65536, 65537, 131072, 1 << 40] as [UInt64])
  func boundaries(size: UInt64) throws {
    let file = try ChunkFile.inMemory(blobSize: size)
    #expect(UInt64(file.chunkCount) == (size + 65535) / 65536)
    if file.chunkCount > 0 {
      let last = file.range(of: file.chunkCount - 1)
      #expect(last.upperBound == size && !last.isEmpty && last.count <= 65536)
    }
  }

  @Test("a word says state, generation and CRC, and a drop changes the tag")
  func words() {
    let absent = ChunkWord(rawValue: 0)
    #expect(!absent.isPresent)
    let present = absent.present(crc: 0x89ab_cdef)
    #expect(present.rawValue == 0x0100_0000_89ab_cdef && present.crc == 0x89ab_cdef && present.isPresent)
    #expect(present.dropped.rawValue == 0x0000_0001_0000_0000)
    #expect(present.dropped.present(crc: 1).tag != present.tag && present.tag != 0)
    let last = ChunkWord(rawValue: 0x01ff_ffff_0000_0000)
    #expect(last.dropped.rawValue == 0 && last.tag != 0)
  }

  @Test("zeroes that were never stored are not taken for a chunk when one bit of the map has changed")
  func hole() throws {
    let file = try ChunkFile.inMemory(blobSize: 1 << 20)
    file.view.words[3].store(1 << 56, ordering: .relaxed)
    withChunkBuffer { #expect(file.check(3, into: $0) == nil) }
  }

  @Test("a chunk of zeroes is one like any other")
  func zeroes() throws {
    let file = try ChunkFile.inMemory(blobSize: 100_000)
    for (chunk, count) in [(0, 65536), (1, 100_000 - 65536)] {
      let bytes = [UInt8](repeating: 0, count: count)
      try bytes.withUnsafeBytes { try file.store(chunk, $0) }
      withChunkBuffer { #expect(file.check(chunk, into: $0) != nil) }
    }
    #expect(file.presentCount == 2)
    file.drop(0)
    withChunkBuffer { #expect(file.check(0, into: $0) == nil) }
  }

  @Test("what is stored over a chunk that is here is announced as a drop first")
  func storedTwice() throws {
    let file = try ChunkFile.inMemory(blobSize: 65536)
    let bytes = [UInt8](repeating: 1, count: 65536)
    try bytes.withUnsafeBytes { try file.store(0, $0) }
    let before = file.view.word(0)
    let drops = file.view.drops.pointee.load(ordering: .relaxed)
    try bytes.withUnsafeBytes { try file.store(0, $0) }
    #expect(file.view.word(0).tag != before.tag)
    #expect(file.view.drops.pointee.load(ordering: .relaxed) == drops + 1)
  }
}

func withChunkBuffer(_ body: (UnsafeMutableRawBufferPointer) -> Void) {
  let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 65536, alignment: 4096)
  defer { buffer.deallocate() }
  body(buffer)
}
