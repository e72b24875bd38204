import LSMT

/// Writes a single layer anew as a standard committed one: in the order of the device, without what was overwritten, and
/// with blocks of zeroes said to be zeroes instead of stored. The same upper gives the same bytes.
public struct Committer {
  /// Commits `source`: the configuration of an image with an upper, the data file of an upper whose mappings are in
  /// `index`, or a sealed layer. `pendingFolder`: see ``UpperUse``. `progress` is told bytes of the device that are
  /// stored. What fails leaves no file behind.
  public static func run(
    _ source: String, index: String? = nil, pendingFolder: String, to options: LayerOptions,
    progress: (Progress) -> Void = { _ in }
  ) throws(ImageError) -> LayerResult {
    let source = try CommitSource.open(source, index: index, pendingFolder: pendingFolder)
    let output = try LayerOutput(options, sources: source.files)
    let header = source.layer.record
    return try output.write(
      virtualSize: header.virtualSize, parentUUID: header.parentUUID, below: .unknown,
      advice: "`warmblk merge` stores a whole image in fewer; --allow-many-entries makes the layer all the same, for "
        + "overlaybd before August 2026", notes: source.notes
    ) { builder throws(ImageError) in
      try copy(source, to: builder, progress)
    }
  }

  private static func copy(
    _ source: CommitSource, to builder: LayerBuilder, _ progress: (Progress) -> Void
  ) throws(ImageError) {
    let sector = UInt64(sectorSize)
    let virtualSize = source.layer.record.virtualSize
    // What lies beyond the end of a device that was made smaller is nobody's.
    let sectors = virtualSize == 0 ? Segment.maxOffset : (virtualSize + sector - 1) / sector
    let total = source.segments.reduce(0) { $0 + ($1.isZeroed ? 0 : UInt64($1.length) * sector) }
    let reader = try source.layer.reader()
    let buffer = Bytes(count: stepSize)
    var done: UInt64 = 0
    for segment in source.segments where segment.offset < sectors {
      let end = min(segment.end, sectors) * sector
      var offset = segment.offset * sector
      if segment.isZeroed {
        try builder.addHole(end - offset, at: offset)
        continue
      }
      while offset < end {
        let step = UInt64(stepSize)
        let part = buffer.part(0..<Int(min(end, offset / step * step + step) - offset))
        try reader.read(into: part, at: segment.moffset * sector + (offset - segment.offset * sector))
        try builder.add(UnsafeRawBufferPointer(part), at: offset)
        offset += UInt64(part.count)
        done += UInt64(part.count)
        progress(Progress(done: done, total: total))
      }
    }
  }
}
