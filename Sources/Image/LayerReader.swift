import BlobStore
import ZFile

/// Reads the blob space of one layer, that is its bytes without tar and compression. One thread at a time.
struct LayerReader {
  private let blob: Blob
  private let blocks: BlockReader?

  /// A reader of `blob`, through `view` when it is compressed.
  init(blob: Blob, view: JumpTable.View?) throws(ImageError) {
    self.blob = blob
    if let view { blocks = try BlockReader(blob: blob, view: view) } else { blocks = nil }
  }

  /// Fills `destination` from byte `offset`, or throws.
  func read(into destination: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(ImageError) {
    if let blocks { return try blocks.read(into: destination, at: offset) }
    do throws(BlobError) { try blob.read(destination, at: offset) } catch { throw .blob(error) }
  }
}

/// Reads the content of a ZFile. Keeps the last block that was needed only in part, so that small reads one after
/// the other decode it once.
final class BlockReader {
  private let blob: Blob
  private let view: JumpTable.View
  private var decoder: BlockDecoder
  private let content: Bytes
  private var contentBlock = -1
  private var stored = Bytes(count: 0)
  private var storedBlocks = 0..<0

  init(blob: Blob, view: JumpTable.View) throws(ImageError) {
    self.blob = blob
    self.view = view
    content = Bytes(count: view.blockSize)
    do throws(ZFileError) {
      decoder = try BlockDecoder()
    } catch {
      throw .zfile(path: blob.path, offset: blob.payloadOffset, error)
    }
  }

  func read(into destination: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(ImageError) {
    if destination.isEmpty { return }
    let (end, overflow) = offset.addingReportingOverflow(UInt64(destination.count))
    guard !overflow, end <= view.originalSize else {
      throw .outOfBounds(path: blob.path, offset: offset, wanted: destination.count, size: view.originalSize)
    }
    let last = Int((end - 1) / UInt64(view.blockSize))
    var done = 0
    while done < destination.count {
      let position = offset + UInt64(done)
      let block = Int(position / UInt64(view.blockSize))
      let skipped = Int(position % UInt64(view.blockSize))
      let length = view.contentLength(ofBlock: block)
      let count = min(length - skipped, destination.count - done)
      let part = UnsafeMutableRawBufferPointer(rebasing: destination[done..<done + count])
      if count == length && block != contentBlock {
        try decode(block, of: last, into: part)
      } else {
        try keep(block, of: last)
        part.copyMemory(from: UnsafeRawBufferPointer(content.part(skipped..<skipped + count)))
      }
      done += count
    }
  }

  /// Makes `block` the one in `content`.
  private func keep(_ block: Int, of last: Int) throws(ImageError) {
    if block == contentBlock { return }
    contentBlock = -1
    try decode(block, of: last, into: content.part(0..<view.contentLength(ofBlock: block)))
    contentBlock = block
  }

  /// Decodes `block`; when its bytes must be read, those of the blocks up to `last` are read with them.
  private func decode(
    _ block: Int, of last: Int, into destination: UnsafeMutableRawBufferPointer
  ) throws(ImageError) {
    if !storedBlocks.contains(block) { try fetch(block, of: last) }
    let base = view.storedOffset(ofBlock: storedBlocks.lowerBound)
    let (offset, length) = view.storedRange(ofBlocks: block..<block + 1)
    let start = Int(offset - base)
    do throws(ZFileError) {
      try decoder.decode(
        stored: UnsafeRawBufferPointer(stored.part(start..<start + length)), into: destination,
        compression: view.compression, hasChecksum: view.hasChecksums)
    } catch {
      throw .block(path: blob.path, block: block, offset: blob.payloadOffset + offset, error)
    }
  }

  private func fetch(_ block: Int, of last: Int) throws(ImageError) {
    var end = block + 1
    while end <= last, view.storedRange(ofBlocks: block..<end + 1).length <= stepSize { end += 1 }
    let (offset, length) = view.storedRange(ofBlocks: block..<end)
    storedBlocks = 0..<0
    if stored.count < length { stored = Bytes(count: length) }
    do throws(BlobError) {
      try blob.read(stored.part(0..<length), at: offset)
    } catch {
      throw .blob(error)
    }
    storedBlocks = block..<end
  }
}
