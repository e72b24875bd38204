import LSMT

/// LSMT files: records, whole layers, and the index files of writable layers.
enum TheFuzzer: Fuzzer {
  static func run(_ input: [UInt8]) {
    check(input, as: .header)
    check(input, as: .trailer)
    open(input)
    replay(input)
  }

  private static func check(_ input: [UInt8], as role: LayerRecord.Role) {
    do throws(LSMTError) {
      let record = try LayerRecord(parsing: input.span.bytes, as: role)
      let encoded = record.encoded()
      let again = try LayerRecord(parsing: encoded.span.bytes, as: role)
      require(again == record, "written and parsed again it is \(again) instead of \(record)")
    } catch {
      require(!error.description.isEmpty, "an error without words")
    }
  }

  /// A sealed layer, as a reader opens it.
  private static func open(_ file: [UInt8]) {
    guard file.count >= LayerRecord.size else { return }
    do throws(LSMTError) {
      let last = Array(file.suffix(LayerRecord.size))
      let trailer = try LayerRecord(parsing: last.span.bytes, as: .trailer)
      let index = try SealedIndex(trailer: trailer, layerSize: UInt64(file.count))
      let bytes = Array(file[Int(index.byteOffset)..<Int(index.byteOffset) + index.byteCount])
      let segments = try index.decode(bytes.span.bytes)
      for segment in segments where !segment.isZeroed {
        let end = (segment.moffset + UInt64(segment.length)) * UInt64(sectorSize)
        require(
          end <= index.byteOffset, "\(segment) refers to byte \(end), the data ends at \(index.byteOffset)")
      }
      try checkMap([segments, segments], virtualSize: trailer.virtualSize)
    } catch {
      require(!error.description.isEmpty, "an error without words")
    }
  }

  private static func replay(_ file: [UInt8]) {
    do throws(LSMTError) {
      let log = try decodeIndexLog(file.span.bytes)
      _ = log.firstEntry(outsideDataOf: UInt64(file.count))
      try checkMap([log.replayed()], virtualSize: log.header.virtualSize)
    } catch {
      require(!error.description.isEmpty, "an error without words")
    }
  }

  static func seeds() -> [[UInt8]] {
    do throws(LSMTError) {
      return try [
        layer([]), layer([8]), layer([0, 20, 20_000]), layer([1, 2, 3, 1 << 33]), log([]),
        log([5, 9, 5, 0, 7]),
      ]
    } catch {
      fatalError("\(error)")
    }
  }

  /// A layer with some sectors at each of `starts`: data, and after it zeroes.
  private static func layer(_ starts: [UInt64]) throws(LSMTError) -> [UInt8] {
    var writer = LayerWriter(
      virtualSize: 1 << 43, uuid: LayerUUID(bytes: Array(1...16))!, userTag: Array("seed".utf8))
    var file = writer.header()
    for start in starts where start != 2 {
      writer.data(atSector: start, sectors: 1)
      file += [UInt8](repeating: 0x5A, count: sectorSize)
      writer.zeroes(atSector: start + 1, sectors: 1 + start / 2)
    }
    return file + (try writer.finish())
  }

  private static func log(_ starts: [UInt64]) -> [UInt8] {
    let header = LayerRecord(
      flags: LayerRecord.Flag.header, indexOffset: UInt64(LayerRecord.size), virtualSize: 1 << 20)
    let entries = starts.enumerated().map { number, start in
      Segment(offset: start, length: 6, moffset: 8 + UInt64(number), isZeroed: number % 3 == 2, tag: 1)
    }
    return header.encoded() + (entries + [.padding]).flatMap(\.encoded) + [1, 2, 3]
  }
}
