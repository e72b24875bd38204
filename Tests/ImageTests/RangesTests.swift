import Glibc
import LSMT
import Posix
import TestSupport
import Testing
import Trace
import ZFile

@testable import Image

@Suite("Ranges of the disk and of layers")
struct RangesTests {
  @Test("the stored bytes of a range's pieces are all that reading it needs, and what is in no piece is zeroes")
  func pieces() throws {
    var random = SplitMix.announced("ranges")
    for round in 0..<60 {
      let scratch = try Scratch(inMemory: true)
      let (image, raw) = try randomImage(scratch, &random)
      for _ in 0..<8 {
        let range = randomRange(below: UInt64(raw.count) + 5000, &random)
        let pieces = image.pieces(ofDevice: range)
        try check(pieces, of: range, image, raw)
        try damageAll(but: pieces, image) {
          var reader = ImageReader(image)
          for piece in pieces {
            let bytes = try read(&reader, piece.device)
            #expect(bytes == Array(raw[Int(piece.device.lowerBound)..<Int(piece.device.upperBound)]), "round \(round)")
          }
        }
      }
    }
  }

  @Test("ranges of a layer are shown where the disk shows them")
  func inverted() throws {
    var random = SplitMix.announced("inverted ranges")
    for _ in 0..<60 {
      let scratch = try Scratch(inMemory: true)
      let (image, raw) = try randomImage(scratch, &random)
      let map = BlobMap(image)
      let all = image.pieces(ofDevice: 0..<image.virtualSize)
      for (number, layer) in image.layers.enumerated() {
        let range = randomRange(below: layer.blobSize + 3000, &random)
        let found = map.pieces(ofLayer: number, blob: range)
        // Every byte of the range comes, once: these images show nothing twice.
        var reached = range.lowerBound
        for piece in found {
          #expect(piece.blob.lowerBound == reached && piece.layer == number)
          reached = piece.blob.upperBound
          #expect(piece.stored == layer.storedRange(ofBlob: piece.blob))
        }
        #expect(reached == max(min(range.upperBound, layer.blobSize), range.lowerBound))
        let expected = all.filter { $0.layer == number }.compactMap { piece -> RangePiece? in
          let blob = piece.blob.clamped(to: range)
          if blob.isEmpty { return nil }
          let start = piece.device.lowerBound + (blob.lowerBound - piece.blob.lowerBound)
          return RangePiece(
            device: start..<start + UInt64(blob.count), layer: number, blob: blob,
            stored: layer.storedRange(ofBlob: blob))
        }
        let shown = found.filter { !$0.device.isEmpty }.sorted { $0.device.lowerBound < $1.device.lowerBound }
        #expect(joined(shown) == joined(expected))
        // Through what is stored: the whole blocks, and nothing of the tar or the jump table.
        let stored = randomRange(below: layer.blob.fileSize, &random)
        let blob = layer.blobRange(ofStored: stored)
        for piece in map.pieces(ofLayer: number, stored: stored) {
          #expect(piece.stored.overlaps(stored) && blob.contains(piece.blob.lowerBound))
        }
        if !blob.isEmpty { #expect(layer.storedRange(ofBlob: blob).overlaps(stored)) }
      }
      #expect(raw.count == Int(image.virtualSize))
    }
  }

  @Test("layers are named by their digest, and by their uuid where there is none")
  func identities() throws {
    let scratch = try Scratch(inMemory: true)
    try scratch.write("raw", SplitMix(state: 3).copyOfBytes(20_000))
    let first = try Importer.run(ImportOptions(source: scratch("raw"), directory: scratch("a")))
    var config = try ImageConfig.load(first.configPath)
    config.lowers[0].digest = nil
    let plain = try Image.open(config: config)
    let uuid = "\(plain.layers[0].record.uuid)"
    #expect(plain.traceLayers.map(\.identity) == ["uuid:\(uuid)"])
    config.lowers[0].digest = "sha256:" + String(repeating: "ab", count: 32)
    let named = try Image.open(config: config).traceLayers[0]
    #expect(named.identity == config.lowers[0].digest && named.size == plain.layers[0].blob.fileSize)
    #expect(!named.isCompressed)
  }

  private func randomRange(below end: UInt64, _ random: inout SplitMix) -> Range<UInt64> {
    let first = UInt64.random(in: 0...end, using: &random)
    let second = UInt64.random(in: 0...end, using: &random)
    return min(first, second)..<max(first, second)
  }

  private func check(_ pieces: [RangePiece], of range: Range<UInt64>, _ image: Image, _ raw: [UInt8]) throws {
    var reached = range.lowerBound
    func expectZeroes(to end: UInt64) {
      let gap = Int(min(reached, UInt64(raw.count)))..<Int(min(max(end, reached), UInt64(raw.count)))
      #expect(raw[gap].allSatisfy { $0 == 0 }, "\(gap) is in no piece")
    }
    for piece in pieces {
      #expect(piece.device.lowerBound >= reached && piece.device.upperBound <= range.upperBound)
      expectZeroes(to: piece.device.lowerBound)
      reached = piece.device.upperBound
      let layer = image.layers[piece.layer]
      #expect(piece.device.count == piece.blob.count)
      if let blocks = layer.blocks {
        #expect(
          piece.blob.lowerBound / UInt64(blocks.blockSize) == (piece.blob.upperBound - 1) / UInt64(blocks.blockSize))
        #expect(piece.stored.count <= blocks.maxStoredLength)
      } else {
        #expect(piece.stored.count == piece.blob.count)
      }
      #expect(layer.blobRange(ofStored: piece.stored).contains(piece.blob.upperBound - 1))
    }
    expectZeroes(to: range.upperBound)
  }

  private func read(_ reader: inout ImageReader, _ range: Range<UInt64>) throws -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: range.count)
    try bytes.withUnsafeMutableBytes { try reader.read(into: $0, at: range.lowerBound) }
    return bytes
  }

  /// Runs `body` while the files of all layers hold rubbish outside of the pieces' stored bytes.
  private func damageAll(but pieces: [RangePiece], _ image: Image, _ body: () throws -> Void) throws {
    let originals = try image.layers.map { try readFile($0.blob.path) }
    for (number, layer) in image.layers.enumerated() {
      var damaged = [UInt8](repeating: 0xEE, count: originals[number].count)
      for piece in pieces where piece.layer == number {
        let part = Int(piece.stored.lowerBound)..<Int(piece.stored.upperBound)
        damaged.replaceSubrange(part, with: originals[number][part])
      }
      try overwrite(layer.blob.path, damaged)
    }
    defer { for (number, layer) in image.layers.enumerated() { try? overwrite(layer.blob.path, originals[number]) } }
    try body()
  }

  /// Writes into the file that is there, which the image has open.
  private func overwrite(_ path: String, _ bytes: [UInt8]) throws {
    let file = try Descriptor.open(path, O_WRONLY)
    try bytes.withUnsafeBytes { try file.writeFully($0, at: 0) }
  }

  /// Neighbours as one, by disk and blob.
  private func joined(_ pieces: [RangePiece]) -> [[Range<UInt64>]] {
    var result: [[Range<UInt64>]] = []
    for piece in pieces {
      if let last = result.last, last[0].upperBound == piece.device.lowerBound,
        last[1].upperBound == piece.blob.lowerBound
      {
        result[result.count - 1] = [
          last[0].lowerBound..<piece.device.upperBound, last[1].lowerBound..<piece.blob.upperBound,
        ]
      } else {
        result.append([piece.device, piece.blob])
      }
    }
    return result
  }
}

extension SplitMix {
  fileprivate func copyOfBytes(_ count: Int) -> [UInt8] {
    var copy = self
    return copy.bytes(count)
  }
}
