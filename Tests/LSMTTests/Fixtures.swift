import Foundation
import LSMT
import Testing

/// The folder of files that overlaybd's own tools wrote: `$WARMBLK_FIXTURES`, or `../shared/fixtures` beside the package.
enum Fixtures {
  static let folder: String =
    ProcessInfo.processInfo.environment["WARMBLK_FIXTURES"]
    ?? URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent(
      "../../../shared/fixtures"
    ).standardized.path

  static let isPresent = FileManager.default.fileExists(atPath: folder + "/lsmt")
  static let absence: Comment = "no fixtures: set WARMBLK_FIXTURES to the folder that has them"

  static func bytes(_ path: String) throws -> [UInt8] {
    [UInt8](try Data(contentsOf: URL(fileURLWithPath: folder + "/" + path)))
  }

  static func text(_ path: String) throws -> String { String(decoding: try bytes(path), as: UTF8.self) }

  /// A `*.idx.txt` file: lines of `offset length moffset zeroed=Z tag=T`.
  static func segments(_ path: String) throws -> [Segment] {
    try text(path).split(separator: "\n").map { line in
      let fields = line.split(separator: " ").map { UInt64($0.split(separator: "=").last!)! }
      return Segment(
        offset: fields[0], length: UInt32(fields[1]), moffset: fields[2], isZeroed: fields[3] == 1,
        tag: UInt8(fields[4]))
    }
  }

  /// The first word of a `*.sha256` file.
  static func sha256(_ path: String) throws -> String {
    String(try text(path).split(separator: " ")[0])
  }
}

/// A sealed or committed layer in memory.
struct LoadedLayer {
  var header: LayerRecord
  var trailer: LayerRecord
  var index: SealedIndex
  var segments: [Segment]
  var bytes: [UInt8]

  init(_ bytes: [UInt8]) throws {
    self.bytes = bytes
    header = try LayerRecord(parsing: bytes.span.bytes, as: .header)
    let end = max(0, bytes.count - LayerRecord.size)
    trailer = try LayerRecord(parsing: bytes.span.bytes.extracting(droppingFirst: end), as: .trailer)
    index = try SealedIndex(trailer: trailer, layerSize: UInt64(bytes.count))
    let start = Int(index.byteOffset)
    segments = try index.decode(bytes.span.bytes.extracting(start..<start + index.byteCount))
  }

  init(fixture: String) throws { try self.init(Fixtures.bytes(fixture)) }
}

/// A writable layer's index file.
func loadIndexLog(fixture: String) throws -> IndexLog {
  // The array has a name because Swift 6.3 crashes on the span of a temporary here.
  let bytes = try Fixtures.bytes(fixture)
  return try decodeIndexLog(bytes.span.bytes)
}

/// Runs a program found through `PATH` and returns what it prints.
func output(of arguments: [String]) throws -> String {
  let process = Process()
  process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
  process.arguments = arguments
  let pipe = Foundation.Pipe()
  process.standardOutput = pipe
  try process.run()
  let data = pipe.fileHandleForReading.readDataToEndOfFile()
  process.waitUntilExit()
  try #require(process.terminationStatus == 0, "\(arguments) failed")
  return String(decoding: data, as: UTF8.self)
}

/// The sha256 of the merged view of `map`, whose layers' blobs are `blobs`, bottom to top.
func sha256(of map: borrowing SegmentMap, blobs: [[UInt8]], virtualSize: UInt64) throws -> String {
  let path = FileManager.default.temporaryDirectory.appendingPathComponent("lsmt-\(UUID().uuidString).img")
    .path
  #expect(FileManager.default.createFile(atPath: path, contents: nil))
  defer { try? FileManager.default.removeItem(atPath: path) }
  let file = try #require(FileHandle(forWritingAtPath: path))
  try file.truncate(atOffset: virtualSize)
  var cursor = map.view.mappings(from: 0, count: virtualSize / 512)
  var sector: UInt64 = 0
  while let mapping = cursor.next() {
    if !mapping.isZeroes {
      let start = Int(mapping.blobSector) * sectorSize
      try file.seek(toOffset: sector * 512)
      try file.write(contentsOf: blobs[Int(mapping.layer)][start..<start + Int(mapping.sectors) * sectorSize])
    }
    sector += mapping.sectors
  }
  #expect(sector == virtualSize / 512)
  try file.close()
  return String(try output(of: ["sha256sum", path]).prefix(64))
}
