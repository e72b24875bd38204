import ZFile

extension OverlaybdTrace {
  /// The most bytes of a record that is written: overlaybd replays each into a buffer of this size, without looking.
  public static let countMax: UInt64 = 1 << 20

  /// The file's bytes, with zeroes as padding. Records of more than ``countMax`` bytes become several.
  public func encoded() -> [UInt8] {
    var body: [UInt8] = []
    body.reserveCapacity(records.count * Self.unit)
    for record in records {
      var start = record.offset
      let end = record.offset + record.count
      repeat {
        let count = min(end - start, Self.countMax)
        body.append(little: UInt32(record.operation.rawValue))
        body.append(little: record.layer)
        body.append(little: count)
        body.append(little: start)
        start += count
      } while start < end
    }
    var bytes: [UInt8] = []
    bytes.append(little: Self.magic)
    bytes.append(little: UInt32(0))
    bytes.append(little: UInt64(body.count))
    bytes.append(little: body.withUnsafeBytes { crc32cRaw($0, seed: Self.checksumSeed) })
    bytes.append(little: UInt32(0))
    return bytes + body
  }
}
