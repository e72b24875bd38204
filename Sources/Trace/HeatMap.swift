/// Where on the disk is read when: a grid of bytes. Of the disk are shown the parts between the first and the last byte
/// that is named, so that a little at the start of a large disk is seen.
public struct HeatMap: Equatable, Sendable {
  /// What goes from left to right.
  public enum Axis: Equatable, Sendable {
    /// Microseconds from the start.
    case time(until: UInt64)
    /// The place in the order, for a trace without times.
    case order(accesses: Int)
  }

  /// What goes from left to right.
  public let axis: Axis
  /// What goes upwards: bytes of the disk.
  public let device: Range<UInt64>
  /// How many steps of time, and of the disk.
  public let columns: Int, rows: Int
  /// Bytes of the accesses in each cell: row by row, the lowest offsets first.
  private var cells: [Double]
  /// The most of them.
  private let most: Double

  /// Counts the accesses of `trace` that have a range of the disk.
  public init(_ trace: AccessTrace, columns: Int, rows: Int) {
    precondition(columns > 0 && rows > 0)
    let accesses = trace.accesses.filter { !$0.device.isEmpty }
    let start = accesses.map(\.device.lowerBound).min() ?? 0
    let end = accesses.map(\.device.upperBound).max() ?? 0
    let last = accesses.last?.microseconds ?? 0
    (self.columns, self.rows, device) = (columns, rows, start..<end)
    axis = last == 0 ? .order(accesses: accesses.count) : .time(until: last)
    var cells = [Double](repeating: 0, count: columns * rows)
    let height = max(Double(end - start) / Double(rows), 1)
    for (number, access) in accesses.enumerated() {
      let part =
        last == 0 ? Double(number) / Double(accesses.count) : Double(access.microseconds) / (Double(last) + 1)
      let column = min(Int(part * Double(columns)), columns - 1)
      let from = Double(access.device.lowerBound - start)
      let to = Double(access.device.upperBound - start)
      for row in min(Int(from / height), rows - 1)...min(Int(to / height), rows - 1) {
        let bytes = min(to, Double(row + 1) * height) - max(from, Double(row) * height)
        cells[row * columns + column] += max(bytes, 0)
      }
    }
    self.cells = cells
    most = cells.max() ?? 0
  }

  /// Bytes that are read in a cell; row 0 has the lowest offsets.
  public func bytes(row: Int, column: Int) -> UInt64 { UInt64(cells[row * columns + column]) }

  /// How hot a cell is, from 0, nothing, to 1: linear in the bytes' number of digits, because a scan touches a thousand
  /// times what a lookup does.
  public func heat(row: Int, column: Int) -> Double {
    let bytes = cells[row * columns + column]
    if bytes < 1 { return 0 }
    let steps = max(Double(log2(most)) - Self.coldest, 1)
    return min(max((log2(bytes) - Self.coldest + 1) / (steps + 1), 0.1), 1)
  }

  /// 512 bytes, as a power of two.
  private static let coldest = 9.0

  /// Near enough: the exponent, and the rest of the number on a straight line.
  private func log2(_ value: Double) -> Double { Double(value.exponent) + value.significand - 1 }

  /// Rows of a terminal, the highest offsets first, in shades of the block characters.
  public func text() -> [String] {
    let shades = Array(" ░▒▓█")
    return (0..<rows).reversed().map { row in
      String(
        (0..<columns).map { column -> Character in
          let heat = heat(row: row, column: column)
          return heat == 0 ? shades[0] : shades[min(Int(heat * 4), 3) + 1]
        })
    }
  }
}
