import Foundation
import Testing

@testable import ZFile

/// Files written by overlaybd's own tools; tests that need them are skipped where they are absent.
enum Fixtures {
  static let folder: String = {
    if let path = ProcessInfo.processInfo.environment["WARMBLK_FIXTURES"] { return path }
    let package = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent()
    return package.appending(path: "../shared/fixtures").standardizedFileURL.path
  }()

  static let exist = FileManager.default.fileExists(atPath: "\(folder)/zfile/plain.sha256")
  static let explanation: Comment =
    "needs the fixtures of overlaybd's tools: set WARMBLK_FIXTURES, or have them in ../shared/fixtures"

  static func bytes(_ path: String) throws -> [UInt8] {
    [UInt8](try Data(contentsOf: URL(filePath: "\(folder)/\(path)")))
  }

  /// The names in a folder that end so, in order.
  static func names(in subfolder: String, ending: String) -> [String] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: "\(folder)/\(subfolder)")) ?? []
    return names.filter { $0.hasSuffix(ending) }.sorted()
  }
}

/// Random numbers that can be had again: `WARMBLK_SEED` sets the seed, which is printed.
struct Seeded: RandomNumberGenerator {
  static let seed: UInt64 = {
    let seed =
      ProcessInfo.processInfo.environment["WARMBLK_SEED"].flatMap { UInt64($0) }
      ?? UInt64.random(in: 0...UInt64.max)
    print("ZFileTests: WARMBLK_SEED=\(seed)")
    return seed
  }()

  private var state: UInt64

  /// - Parameter salt: sets tests apart that share the seed.
  init(_ salt: UInt64) { state = Self.seed &+ salt &* 0x9E37_79B9_7F4A_7C15 }

  /// SplitMix64.
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  mutating func bytes(_ count: Int) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(count + 8)
    while bytes.count < count { withUnsafeBytes(of: next()) { bytes += $0 } }
    return Array(bytes[..<count])
  }
}

/// A ZFile in memory that is read the way a layer is.
struct WholeFile: ~Copyable {
  let bytes: [UInt8]
  let record: ZFileRecord
  let table: JumpTable

  init(_ bytes: [UInt8]) throws(ZFileError) {
    let span = bytes.span.bytes
    var record = try ZFileRecord(parsing: span, as: .header)
    if !record.isHeaderOverwritten {
      guard bytes.count >= 2 * ZFileRecord.size else {
        throw .truncated(wanted: 2 * ZFileRecord.size, found: bytes.count)
      }
      record = try ZFileRecord(parsing: span.extracting(last: ZFileRecord.size), as: .trailer)
    }
    let location = try JumpTable.location(record: record, fileSize: UInt64(bytes.count))
    let start = Int(location.offset)
    table = try JumpTable(
      parsing: span.extracting(start..<start + location.byteCount), record: record,
      fileSize: UInt64(bytes.count))
    self.record = record
    self.bytes = bytes
  }

  func block(_ block: Int, _ decoder: inout BlockDecoder) throws(ZFileError) -> [UInt8] {
    let view = table.view
    let (offset, length) = view.storedRange(ofBlocks: block..<block + 1)
    var content = [UInt8](repeating: 0xEE, count: view.contentLength(ofBlock: block))
    try bytes.decode(Int(offset)..<Int(offset) + length, into: &content, view, &decoder)
    return content
  }

  func content() throws(ZFileError) -> [UInt8] {
    var decoder = try BlockDecoder()
    var content: [UInt8] = []
    content.reserveCapacity(Int(table.view.originalSize))
    for i in 0..<table.view.blockCount { content += try block(i, &decoder) }
    return content
  }
}

extension [UInt8] {
  fileprivate func decode(
    _ range: Range<Int>, into content: inout [UInt8], _ view: JumpTable.View, _ decoder: inout BlockDecoder
  ) throws(ZFileError) {
    let failure: ZFileError? = withUnsafeBytes { stored in
      content.withUnsafeMutableBytes { content in
        do throws(ZFileError) {
          try decoder.decode(
            stored: UnsafeRawBufferPointer(rebasing: stored[range]), into: content,
            compression: view.compression, hasChecksum: view.hasChecksums)
          return nil
        } catch { return error }
      }
    }
    if let failure { throw failure }
  }
}

/// Compresses in pieces of any size; with `rewritten` the header that `finish` returned is put in front.
func compress(
  _ content: [UInt8], _ compression: Compression, blockSize: Int, checksums: Bool = true,
  rewritten: Bool = true, piece: Int = .max
) throws -> [UInt8] {
  var writer = try ZFileWriter(compression: compression, blockSize: blockSize, checksums: checksums)
  var file: [UInt8] = []
  content.withUnsafeBytes { bytes in
    var rest = bytes[...]
    while !rest.isEmpty {
      writer.append(UnsafeRawBufferPointer(rebasing: rest.prefix(piece))) { file += $0 }
      rest = rest.dropFirst(piece)
    }
  }
  let header = writer.finish { file += $0 }
  if rewritten { file.replaceSubrange(..<ZFileRecord.size, with: header) }
  return file
}

/// The digest as coreutils' sha256sum prints it: an implementation that is not ours.
func sha256(_ bytes: [UInt8]) throws -> String {
  String(try output(of: "sha256sum") { try $0.write(contentsOf: bytes) }.prefix(64))
}

/// What a program prints; `input` may write to its standard input.
func output(
  of program: String, _ arguments: String..., input: (FileHandle) throws -> Void = { _ in }
) throws -> String {
  let process = Process()
  process.executableURL = URL(filePath: "/usr/bin/env")
  process.arguments = [program] + arguments
  let (pipeIn, pipeOut) = (Pipe(), Pipe())
  process.standardInput = pipeIn
  process.standardOutput = pipeOut
  try process.run()
  try input(pipeIn.fileHandleForWriting)
  try pipeIn.fileHandleForWriting.close()
  let output = pipeOut.fileHandleForReading.readDataToEndOfFile()
  process.waitUntilExit()
  try #require(process.terminationStatus == 0, "\(program) failed")
  return String(decoding: output, as: UTF8.self)
}
