import LSMT

/// Turns pieces of a raw image into a layer: what is not below it already.
final class LayerBuilder {
  /// What the layer will lie on.
  enum Below {
    /// Nothing, which reads as zeroes: zeroes need not be said.
    case nothing
    /// This image: only what differs is said.
    case parent(ParentView)
    /// Something: all that is added is said, zeroes too.
    case unknown
  }

  private let file: LayerFile
  private var writer: LayerWriter
  private let below: Below
  private let grain: Int
  private let advice: String
  /// Bytes that are stored.
  private(set) var dataBytes: UInt64 = 0
  /// Bytes that are zeroes over something else, known or not.
  private(set) var zeroedBytes: UInt64 = 0

  /// `grain` is the unit of comparison in bytes, a multiple of 512. `advice`: what to do about too many segments.
  init(file: LayerFile, writer: LayerWriter, below: Below, grain: Int, advice: String) throws(ImageError) {
    self.file = file
    self.writer = writer
    self.below = below
    self.grain = grain
    self.advice = advice
    try file.append(writer.header())
  }

  var entryCount: UInt64 { writer.entryCount }

  private enum Kind {
    case same, zeroes, data
  }

  /// Adds `bytes`, whole sectors, which the raw image has at `offset`.
  func add(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(ImageError) {
    var old: UnsafeRawBufferPointer?
    if case .parent(let parent) = below { old = try parent.bytes(at: offset, count: bytes.count) }
    var runStart = 0
    var runKind = Kind.same
    var start = 0
    while start < bytes.count {
      // Up to a multiple of the grain, so that blocks of zeroes are found where file systems have their blocks.
      let misplaced = Int((offset + UInt64(start)) % UInt64(grain))
      let range = start..<min(bytes.count, start + grain - misplaced)
      let kind = kind(of: bytes.part(range), over: old?.part(range))
      if kind != runKind {
        try end(runKind, bytes.part(runStart..<start), at: offset + UInt64(runStart))
        (runKind, runStart) = (kind, start)
      }
      start = range.upperBound
    }
    try end(runKind, bytes.part(runStart..<bytes.count), at: offset + UInt64(runStart))
  }

  /// Adds `count` zero bytes at `offset`. Only what the parent stores there is looked at.
  func addHole(_ count: UInt64, at offset: UInt64) throws(ImageError) {
    switch below {
    case .nothing: return
    case .unknown: try addZeroes(count, at: offset)
    case .parent(let parent): try addHole(count, at: offset, over: parent)
    }
  }

  private func addHole(_ count: UInt64, at offset: UInt64, over parent: ParentView) throws(ImageError) {
    let end = offset + count
    var position = offset
    while position < end {
      let (length, isZero) = parent.run(at: position, limit: min(end - position, UInt64(stepSize)))
      if !isZero, let old = try parent.bytes(at: position, count: Int(length)) {
        try zero(over: old, at: position)
      }
      position += length
    }
  }

  /// The rest of the layer's bytes.
  func finish() throws(ImageError) -> [UInt8] {
    do throws(LSMTError) { return try writer.finish() } catch {
      throw .layer(path: file.output.path, error)
    }
  }

  private func zero(over old: UnsafeRawBufferPointer, at offset: UInt64) throws(ImageError) {
    for start in stride(from: 0, to: old.count, by: grain) {
      let part = old.part(start..<min(old.count, start + grain))
      if !isZero(part) { try end(.zeroes, part, at: offset + UInt64(start)) }
    }
  }

  private func kind(of new: UnsafeRawBufferPointer, over old: UnsafeRawBufferPointer?) -> Kind {
    if isZero(new) {
      if case .unknown = below { return .zeroes }
      return old.map(isZero) ?? true ? .same : .zeroes
    }
    if let old, isEqual(new, old) { return .same }
    return .data
  }

  private func end(_ kind: Kind, _ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(ImageError) {
    if bytes.isEmpty { return }
    switch kind {
    case .same: return
    case .zeroes: try addZeroes(UInt64(bytes.count), at: offset)
    case .data:
      writer.data(atSector: offset / UInt64(sectorSize), sectors: UInt64(bytes.count / sectorSize))
      dataBytes += UInt64(bytes.count)
      try file.append(bytes)
      try checkRoom(offset)
    }
  }

  private func addZeroes(_ count: UInt64, at offset: UInt64) throws(ImageError) {
    writer.zeroes(atSector: offset / UInt64(sectorSize), sectors: count / UInt64(sectorSize))
    zeroedBytes += count
    try checkRoom(offset)
  }

  private func checkRoom(_ offset: UInt64) throws(ImageError) {
    if writer.isFull {
      throw .tooFragmented(path: file.output.path, offset: offset, entries: writer.entryCount, advice: advice)
    }
  }
}

/// The image that a layer is made on, as the bytes below the new layer. It has no end: what lies beyond the parent's
/// last sector can be seen again through a larger child.
final class ParentView {
  let image: Image
  private var reader: ImageReader
  private let buffer = Bytes(count: stepSize)

  init(configPath: String) throws(ImageError) {
    image = try Image.open(config: try ImageConfig.load(configPath), virtualSize: SegmentMap.maxVirtualSize)
    reader = ImageReader(image)
  }

  /// The bytes below `count` (at most ``stepSize``) bytes at `offset`, valid until the next call; nil when they are
  /// zeroes that nobody stores.
  func bytes(at offset: UInt64, count: Int) throws(ImageError) -> UnsafeRawBufferPointer? {
    if run(at: offset, limit: UInt64(count)) == (UInt64(count), true) { return nil }
    let part = buffer.part(0..<count)
    try reader.read(into: part, at: offset)
    return UnsafeRawBufferPointer(part)
  }

  /// How many bytes from `offset`, at most `limit`, have the same source, and whether it is nothing. Whole sectors.
  func run(at offset: UInt64, limit: UInt64) -> (length: UInt64, isZero: Bool) {
    let sector = UInt64(sectorSize)
    var cursor = image.map.view.mappings(from: offset / sector, count: limit / sector)
    guard let first = cursor.next() else { return (limit, true) }
    return (first.sectors * sector, first.isZeroes)
  }
}
