import Glibc
import Posix
import Testing
import ZFile

@testable import BlobStore

@Suite struct ChunkMapTests {
  private static let sha256 = [UInt8](0..<32)
  private static let size: UInt64 = 0x1234_5678
  private static let chunks = 0x4_8d16

  /// Written by hand; the CRC by a program of seven lines that goes bit by bit.
  private static let golden: [UInt8] =
    [0x57, 0x42, 0x4b, 0x4d, 0x41, 0x50, 0x00, 0x02]  // WBKMAP, version 2
    + [10, 0, 0, 0]  // chunks of 1 KiB
    + [0x16, 0x8d, 0x04, 0]  // so many
    + [0x78, 0x56, 0x34, 0x12, 0, 0, 0, 0]  // bytes of the blob
    + Array(0..<32)
    + [218, 154, 116, 17]  // CRC-32C

  @Test("a map begins with the bytes that its description has")
  func header() {
    let header = ChunkMap.header(blobSize: Self.size, sha256: Self.sha256)
    #expect(header.count == 4096)
    #expect(Array(header[..<60]) == Self.golden)
    #expect(header[60...].allSatisfy { $0 == 0 })
    #expect(ChunkMap.chunkCount(ofBlob: Self.size) == Self.chunks)
    #expect(ChunkMap.byteCount(chunks: Self.chunks) == 4096 + Self.chunks * 8 + 0x1235 * 4)
  }

  @Test("every bit of the header matters, and so does the length of the file")
  func damaged() {
    let header = ChunkMap.header(blobSize: Self.size, sha256: Self.sha256)
    let fileSize = UInt64(ChunkMap.byteCount(chunks: Self.chunks))
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
    "sizes that no blob has are refused without arithmetic going wrong", arguments: [(1 << 38) + 1, .max, .max - 65534])
  func absurdSizes(size: UInt64) {
    var header = [UInt8](repeating: 0, count: 4096)
    header.replaceSubrange(..<60, with: Self.golden)
    withUnsafeBytes(of: size.littleEndian) { header.replaceSubrange(16..<24, with: $0) }
    #expect(ChunkMap.blobSize(ofHeader: header, sha256: Self.sha256, fileSize: 4096) == nil)
    #expect(throws: Errno.self) { try ChunkFile.inMemory(blobSize: size) }
  }

  @Test("chunks at the boundaries", arguments: [0, 1, 1023, 1024, 1025, 65535, 65536, 65537, 1 << 38] as [UInt64])
  func boundaries(size: UInt64) throws {
    let file = try ChunkFile.inMemory(blobSize: size)
    #expect(UInt64(file.chunkCount) == (size + 1023) / 1024)
    #expect(ChunkMap.chunkCount(ofMap: ChunkMap.byteCount(chunks: file.chunkCount)) == file.chunkCount)
    #expect(file.spans.reduce(0) { $0 + $1.count } == file.chunkCount || size == 1 << 38)
    if file.chunkCount > 0 {
      let last = file.bytes(of: file.chunkCount - 1..<file.chunkCount)
      #expect(last.upperBound == size && !last.isEmpty && last.count <= 1024)
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
    withChunkBuffer { #expect(!file.hasAll(3..<4, into: $0)) }
  }

  @Test("a chunk of zeroes is one like any other")
  func zeroes() throws {
    let file = try ChunkFile.inMemory(blobSize: 100_000)
    for chunks in file.spans {
      let bytes = [UInt8](repeating: 0, count: file.bytes(of: chunks).count)
      try bytes.withUnsafeBytes { try file.store(chunks, $0) }
      withChunkBuffer { #expect(file.hasAll(chunks, into: $0)) }
    }
    #expect(file.presentCount == 98)
    #expect(file.drop(0..<2) == 2048 && file.drop(1..<3) == 1024)
    withChunkBuffer { #expect(!file.hasAll(2..<4, into: $0) && file.hasAll(3..<60, into: $0)) }
  }

  @Test("what is stored over a chunk that is here is announced as a drop first")
  func storedTwice() throws {
    let file = try ChunkFile.inMemory(blobSize: 65536)
    let bytes = [UInt8](repeating: 1, count: 2048)
    try bytes.withUnsafeBytes { try file.store(0..<2, $0) }
    let before = file.view.word(0)
    let drops = file.view.drops.pointee.load(ordering: .relaxed)
    try bytes.withUnsafeBytes { try file.store(0..<2, $0) }
    #expect(file.view.word(0).tag != before.tag)
    #expect(file.view.drops.pointee.load(ordering: .relaxed) == drops + 2)
  }
}

func withChunkBuffer(_ body: (UnsafeMutableRawBufferPointer) -> Void) {
  let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 65536, alignment: 4096)
  defer { buffer.deallocate() }
  body(buffer)
}
