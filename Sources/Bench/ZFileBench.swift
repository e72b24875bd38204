import CCodecs
import Glibc
import ZFile

/// Random 4 KiB block reads from memory: the codec alone against jump table, CRC and codec.
enum ZFileBench {
  private static let contentSize = 64 << 20
  private static let blockSize = 4096

  static func run() throws {
    let content = realContent()
    print(
      "zfile: \(content.count >> 20) MiB of programs and libraries, 4 KiB blocks in random order, one core")
    for compression in [Compression.lz4, .zstd] {
      let fixture = try Fixture(content, compression: compression, blockSize: blockSize)
      try fixture.report()
    }
    crc()
  }

  /// The machine's own programs and libraries, as many as fill the size.
  private static func realContent() -> [UInt8] {
    var content: [UInt8] = []
    content.reserveCapacity(contentSize)
    for folder in ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/bin", "/usr/libexec"] {
      guard let directory = opendir(folder) else { continue }
      defer { closedir(directory) }
      while content.count < contentSize, let entry = readdir(directory) {
        let name = withUnsafeBytes(of: entry.pointee.d_name) {
          String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
        }
        append(file: "\(folder)/\(name)", to: &content)
      }
    }
    return content
  }

  private static func append(file path: String, to content: inout [UInt8]) {
    let descriptor = open(path, O_RDONLY | O_NOFOLLOW)
    guard descriptor >= 0 else { return }
    defer { close(descriptor) }
    // No file may dominate.
    var left = min(4 << 20, contentSize - content.count)
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    while left > 0 {
      let count = read(descriptor, &buffer, min(left, buffer.count))
      guard count > 0 else { return }
      content += buffer[..<count]
      left -= count
    }
  }

  /// The CRC of 2.5 KiB that is in the cache.
  private static func crc() {
    let bytes = [UInt8](repeating: 0x5A, count: 2560)
    let calls = 2_000_000
    var state: UInt32 = 1
    let start = seconds()
    bytes.withUnsafeBytes { for _ in 0..<calls { state = crc32cRaw($0, seed: state) } }
    let time = seconds() - start
    print("  crc32c: \(decimal(time / Double(calls) * 1e9, 0)) ns for 2560 bytes (state \(state))")
  }

  fileprivate static func seconds() -> Double {
    var now = timespec()
    clock_gettime(CLOCK_MONOTONIC, &now)
    return Double(now.tv_sec) + Double(now.tv_nsec) * 1e-9
  }

  fileprivate static func decimal(_ value: Double, _ places: Int) -> String {
    var scale = 1.0
    for _ in 0..<places { scale *= 10 }
    return "\((value * scale).rounded() / scale)"
  }

}

/// A compressed file in memory and the order to read it in.
private final class Fixture {
  private let file: [UInt8]
  private let table: JumpTable
  private let order: [Place]
  private let compression: Compression
  private let target: UnsafeMutableRawBufferPointer

  /// Where the reference finds a block, so that it needs no jump table.
  private struct Place {
    let block: Int
    let offset: Int
    let length: Int
  }

  init(_ content: [UInt8], compression: Compression, blockSize: Int) throws(ZFileError) {
    var writer = try ZFileWriter(compression: compression, blockSize: blockSize)
    var bytes: [UInt8] = []
    content.withUnsafeBytes { writer.append($0) { bytes += $0 } }
    bytes.replaceSubrange(..<ZFileRecord.size, with: writer.finish { bytes += $0 })
    let record = try ZFileRecord(parsing: bytes.span.bytes, as: .header)
    let size = UInt64(bytes.count)
    let location = try JumpTable.location(record: record, fileSize: size)
    let lengths = bytes.span.bytes.extracting(
      Int(location.offset)..<(Int(location.offset) + location.byteCount))
    table = try JumpTable(parsing: lengths, record: record, fileSize: size)
    file = bytes
    self.compression = compression
    target = .allocate(byteCount: blockSize, alignment: 4096)
    let view = table.view
    order = (0..<view.blockCount).shuffled().map { block in
      let (offset, length) = view.storedRange(ofBlocks: block..<block + 1)
      return Place(block: block, offset: Int(offset), length: length - 4)
    }
  }

  deinit { target.deallocate() }

  private static let rounds = 15
  private static let chunk = 512

  /// Prints thousands of blocks a second of the codec alone and of ours.
  ///
  /// The two take turns every few hundred blocks, on blocks that are far apart so that neither warms the cache for the
  /// other, and each turn counts with the best of its rounds: what else the machine does only makes a turn slower.
  func report() throws {
    let turns = order.count / Self.chunk
    var best = [(codec: Double, ours: Double)](repeating: (.infinity, .infinity), count: turns)
    var decoder = try BlockDecoder()
    let context = ZSTD_createDCtx()
    defer { ZSTD_freeDCtx(context) }
    for _ in 0..<Self.rounds {
      for turn in 0..<turns {
        let start = ZFileBench.seconds()
        codecAlone(places(ofTurn: turn), context)
        let middle = ZFileBench.seconds()
        let other = (turn + turns / 2) % turns
        try ours(places(ofTurn: other), &decoder)
        best[turn].codec = min(best[turn].codec, middle - start)
        best[other].ours = min(best[other].ours, ZFileBench.seconds() - middle)
      }
    }
    let blocks = Double(turns * Self.chunk)
    let codec = best.reduce(0) { $0 + $1.codec }
    let ours = best.reduce(0) { $0 + $1.ours }
    print(
      "  \(table.view.compression): codec alone \(ZFileBench.decimal(blocks / codec / 1000, 1)) k blocks/s, "
        + "ours \(ZFileBench.decimal(blocks / ours / 1000, 1)) k, ratio \(ZFileBench.decimal(codec / ours, 3)) "
        + "(stored \(ZFileBench.decimal(Double(file.count) / Double(order.count), 0)) bytes a block)")
  }

  private func places(ofTurn turn: Int) -> ArraySlice<Place> {
    order[(turn * Self.chunk)..<((turn + 1) * Self.chunk)]
  }

  /// The same codec calls without jump table and CRC.
  private func codecAlone(_ places: ArraySlice<Place>, _ context: OpaquePointer?) {
    let capacity = target.count
    file.withUnsafeBytes { file in
      for place in places {
        let source = file.baseAddress! + place.offset
        let count =
          compression == .lz4
          ? Int(
            LZ4_decompress_safe(
              source.assumingMemoryBound(to: CChar.self),
              target.baseAddress!.assumingMemoryBound(to: CChar.self), Int32(place.length), Int32(capacity)))
          : ZSTD_decompressDCtx(context, target.baseAddress, capacity, source, place.length)
        precondition(count > 0 && count <= capacity)
      }
    }
  }

  private func ours(_ places: ArraySlice<Place>, _ decoder: inout BlockDecoder) throws {
    let view = table.view
    try file.withUnsafeBytes { file in
      for place in places {
        let block = place.block
        let (offset, length) = view.storedRange(ofBlocks: block..<block + 1)
        try decoder.decode(
          stored: UnsafeRawBufferPointer(start: file.baseAddress! + Int(offset), count: length),
          into: UnsafeMutableRawBufferPointer(
            start: target.baseAddress!, count: view.contentLength(ofBlock: block)),
          compression: view.compression, hasChecksum: view.hasChecksums)
      }
    }
  }
}
