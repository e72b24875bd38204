import BlobStore
import Glibc
import LSMT
import Posix
import Trace
import ZFile

/// Says what a file is, from its bytes alone, and what is wrong with it. Never fails: what cannot be read is a finding.
public struct Inspector {
  var result: Inspection
  let verifies: Bool
  /// Where servers that were killed leave writes; nil when nobody looks there.
  let pendingFolder: String?
  /// The index file of the upper that is looked at, where it is known.
  var indexPath: String?
  let progress: (Progress) -> Void

  /// Looks at the file at `path`. With `verify` everything is read and checked: every block, CRC, bound and, where a
  /// configuration names one, digest. `pendingFolder` is where the writes of killed servers are looked for, and
  /// `progress` is told bytes of the file that is being verified.
  public static func inspect(
    _ path: String, verify: Bool = false, pendingFolder: String? = nil,
    progress: @escaping (Progress) -> Void = { _ in }
  ) -> Inspection {
    var inspector = Inspector(path: path, verify: verify, pendingFolder: pendingFolder, progress: progress)
    inspector.run()
    return inspector.result
  }

  init(path: String, verify: Bool, pendingFolder: String?, progress: @escaping (Progress) -> Void) {
    result = Inspection(path: path)
    verifies = verify
    self.pendingFolder = pendingFolder
    self.progress = progress
  }

  /// A configuration is JSON, which begins with a brace; everything else is looked at as a blob.
  mutating func run() {
    do throws(ImageError) {
      let blob: Blob
      do throws(BlobError) { blob = try Blob(path: result.path) } catch { throw .blob(error) }
      result.fileSize = blob.fileSize
      if blob.isTarWrapped {
        result.tar = .init(payloadOffset: blob.payloadOffset, payloadSize: blob.payloadSize)
      }
      let prefix = try blob.bytes(at: 0, count: Int(min(blob.payloadSize, 512)))
      if OverlaybdTrace.isTrace(prefix: prefix.span.bytes) {
        try inspectOverlaybdTrace(blob)
      } else if AccessTrace.isAccessTrace(prefix: prefix.span.bytes) {
        try inspectTrace(blob)
      } else if FileSignature.isJSON(prefix), !blob.isTarWrapped {
        try inspectConfig()
      } else {
        try inspectBlob(blob)
      }
      result.isVerified = verifies
    } catch {
      report(error)
    }
  }

  private mutating func inspectBlob(_ blob: Blob) throws(ImageError) {
    let container = try Container.open(blob)
    if let record = container.zfile, let view = container.view {
      result.kind = .zfile
      result.compression = .init(record, view)
    }
    let reader = try container.reader()
    let size = container.size
    let prefix = try reader.bytes(at: 0, count: Int(min(size, UInt64(LayerRecord.size))))
    if LayerRecord.isLSMT(prefix.span.bytes) {
      try inspectLSMT(prefix, container)
    } else if size == 0 {
      add(file: blob.path, message: "\(blob.path): there is nothing in it: fetch or build it again")
    } else if result.kind == .unknown, let format = FileSignature.cutFormat(prefix) {
      add(
        file: blob.path,
        message: "\(blob.path): only \(size) bytes, with which \(format) begins; the rest is missing: "
          + "fetch or build it again")
    } else if result.kind == .unknown {
      result.notes.append("it begins with \(FileSignature(prefix).description)")
    }
    if verifies {
      try verifyContent(reader, size: size, path: blob.path)
      try verifyDigest(blob)
    }
  }

  /// Reads all of the content, which checks every compressed block, and reports each that is bad.
  private mutating func verifyContent(_ reader: LayerReader, size: UInt64, path: String) throws(ImageError) {
    let grain = result.compression.map { Int($0.blockSize) } ?? stepSize
    let buffer = Bytes(count: stepSize)
    var offset: UInt64 = 0
    while offset < size {
      let count = Int(min(size - offset, UInt64(stepSize)))
      do throws(ImageError) {
        try reader.read(into: buffer.part(0..<count), at: offset)
      } catch {
        // Again block by block, so that every bad one is named.
        for start in stride(from: 0, to: count, by: grain) where result.findings.count < Self.findingLimit {
          let part = buffer.part(start..<min(count, start + grain))
          do throws(ImageError) { try reader.read(into: part, at: offset + UInt64(start)) } catch { report(error) }
        }
        if result.findings.count >= Self.findingLimit {
          result.notes.append("verification stopped after \(Self.findingLimit) findings")
          return
        }
      }
      offset += UInt64(count)
      progress(Progress(done: offset, total: size))
    }
  }

  static let findingLimit = 100

  private mutating func verifyDigest(_ blob: Blob) throws(ImageError) {
    do throws(BlobError) { result.sha256 = try blob.sha256() } catch { throw .blob(error) }
  }
}

extension Inspector {
  mutating func report(_ error: ImageError) {
    let place = error.place
    result.findings.append(
      .init(
        file: place.file ?? result.path, offset: place.offset, expected: place.expected, found: place.found,
        message: error.description))
  }

  mutating func add(
    file: String, offset: UInt64? = nil, expected: String? = nil, found: String? = nil, message: String
  ) {
    result.findings.append(
      .init(file: file, offset: offset, expected: expected, found: found, message: message))
  }
}

extension Inspection.Compressed {
  init(_ record: ZFileRecord, _ view: JumpTable.View) {
    codec = "\(view.compression)"
    blockSize = record.blockSize
    blocks = view.blockCount
    originalSize = view.originalSize
    storedSize = UInt64(view.storedRange(ofBlocks: 0..<view.blockCount).length)
    ratio = storedSize == 0 ? 1 : Double(originalSize) / Double(storedSize)
    longestBlock = view.maxStoredLength
    hasChecksums = view.hasChecksums
    hasDigest = record.hasDigest
    isHeaderFinal = record.isHeaderOverwritten
  }
}
