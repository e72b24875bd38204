/// Whether a disk is partitioned, and where: to say why no file of it can be found.
enum PartitionTable {
  /// Throws `partitioned` if there is a table with partitions in it.
  static func check(_ disk: Disk) throws(FileSystemError) {
    for sector in [512, 4096] as [UInt64] where disk.size >= 2 * sector {
      if let partitions = try gpt(disk, sector) { throw .partitioned(table: "GPT", partitions) }
    }
    if let partitions = try mbr(disk) { throw .partitioned(table: "MBR", partitions) }
  }

  /// The table in the second sector: a header, and entries of 128 bytes or more that it points to.
  private static func gpt(_ disk: Disk, _ sector: UInt64) throws(FileSystemError) -> [DiskRange]? {
    let header = try disk.bytes(at: sector, count: 92)
    guard header.starts(with: Array("EFI PART".utf8)) else { return nil }
    let (count, size) = (min(header.u32(80), 128), header.u32(84))
    let (start, overflow) = header.u64(72).multipliedReportingOverflow(by: sector)
    guard !overflow, size >= 128, size <= 4096, start <= disk.size, count * size <= disk.size - start else { return [] }
    let entries = try disk.bytes(at: start, count: Int(count * size))
    return stride(from: 0, to: entries.count, by: Int(size)).compactMap { offset in
      let isUsed = entries[offset..<offset + 16].contains { $0 != 0 }
      return isUsed ? range(entries.u64(offset + 32), entries.u64(offset + 40), sector, disk) : nil
    }
  }

  /// Four entries of 16 bytes at the end of the first sector.
  private static func mbr(_ disk: Disk) throws(FileSystemError) -> [DiskRange]? {
    guard disk.size >= 512 else { return nil }
    let record = try disk.bytes(at: 0, count: 512)
    guard record.u16(510) == 0xAA55 else { return nil }
    var partitions: [DiskRange] = []
    for offset in stride(from: 446, to: 510, by: 16) {
      // Boot sectors of file systems end with the same two bytes, and have code where the entries would be.
      guard record[offset] == 0 || record[offset] == 0x80 else { return nil }
      let (start, count) = (record.u32(offset + 8), record.u32(offset + 12))
      if record[offset + 4] == 0 || count == 0 { continue }
      guard let partition = range(start, start + count - 1, 512, disk) else { return nil }
      partitions.append(partition)
    }
    return partitions.isEmpty ? nil : partitions
  }

  private static func range(_ first: UInt64, _ last: UInt64, _ sector: UInt64, _ disk: Disk) -> DiskRange? {
    guard first > 0, first <= last, last < disk.size / sector else { return nil }
    return first * sector..<(last + 1) * sector
  }
}
