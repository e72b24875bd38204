/// What opening a writable layer found that a clean end would not have left, and what became of it.
public struct RecoveryReport: Equatable, Sendable {
  /// Entries that a killed server had acknowledged and no flush had covered: they are in force again.
  public var replayedEntries: UInt64 = 0
  /// Entries of the index file whose data is not there, at all or in part: what is missing of them was dropped.
  public var cutEntries: UInt64 = 0
  /// Sectors that those entries had mapped and no longer do.
  public var cutSectors: UInt64 = 0
  /// Entries of the index file that never got their bytes (a power loss leaves them), dropped.
  public var blankEntries: UInt64 = 0
  /// Bytes of an incomplete last entry, dropped: 0...15.
  public var tornIndexBytes: UInt64 = 0
  /// Bytes of an incomplete last sector of the data file, which was filled up: 0...511.
  public var tornDataBytes: UInt64 = 0
  /// Entries that another program appended after the server was killed.
  public var foreignEntries: UInt64 = 0
  /// Pending entries that belong to another boot or file, or to data that is not there: they were dropped.
  public var voidEntries: UInt64 = 0
  /// Whether the two headers said different sizes of the device; the larger one holds now.
  public var hadTwoSizes = false
  /// Whether the file of a sparse layer was not as long as its device; it was cut, or filled up with a hole.
  public var hadOtherLength = false
  /// Whether the disk had refused to store data before the server ended.
  public var hadLostData = false
  /// Whether the index file was written anew, without what was dropped.
  public var hasRewrittenIndex = false

  /// Nothing found.
  public init() {}

  /// Whether the layer was as a clean end leaves it.
  public var isClean: Bool { self == RecoveryReport() }

  /// One line for the log for each thing found.
  public var lines: [String] {
    var lines: [String] = []
    if replayedEntries > 0 {
      lines.append(
        "\(replayedEntries) index entries that no flush had covered are in force again: the last server was killed")
    }
    if hadLostData {
      lines.append(
        "the disk had failed to store data before the last server ended: what was written since the last flush may be lost"
      )
    }
    if voidEntries > 0 {
      lines.append(
        "\(voidEntries) pending index entries are void: they are of another boot, of another file, or their data is gone"
      )
    }
    if cutEntries > 0 {
      lines.append(
        "\(cutEntries) index entries reached beyond the end of the data file: \(cutSectors) sectors of them were dropped"
      )
    }
    if blankEntries > 0 { lines.append("\(blankEntries) index entries were never stored and were dropped") }
    if tornIndexBytes > 0 { lines.append("\(tornIndexBytes) bytes of an incomplete index entry were cut off") }
    if tornDataBytes > 0 {
      lines.append("the last sector of the data file had \(tornDataBytes) bytes and was filled up with zeroes")
    }
    if foreignEntries > 0 {
      lines.append(
        "another program had appended \(foreignEntries) index entries after the last server was killed: they count as newer"
      )
    }
    if hadTwoSizes {
      lines.append("the headers of data and index file had different device sizes: both have the larger one now")
    }
    if hadOtherLength {
      lines.append("the data file did not end with the device: a change of its size, or a sealing, had been cut off")
    }
    if hasRewrittenIndex { lines.append("the index file was written anew") }
    return lines
  }
}
