import ArgumentParser

/// A time as people write it: `90s`, `10m`, `500ms`, `1h`; a bare number is seconds.
struct Duration: ExpressibleByArgument, Equatable {
  let milliseconds: Int

  init?(argument: String) {
    let units: [(String, Int)] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)]
    let (suffix, unit) = units.first { argument.hasSuffix($0.0) } ?? ("", 1000)
    guard let number = Int(argument.dropLast(suffix.count)), number > 0 else { return nil }
    let (product, overflow) = number.multipliedReportingOverflow(by: unit)
    if overflow || product > 30 * 86_400_000 { return nil }
    milliseconds = product
  }
}

/// A size as people write it: `64M`, `1G`, `4096`; K, M, G and T are powers of 1024.
struct ByteCount: ExpressibleByArgument, Equatable {
  let bytes: UInt64

  init?(argument: String) {
    let shifts: [Character: UInt64] = ["K": 10, "M": 20, "G": 30, "T": 40]
    let shift = argument.last.flatMap { shifts[$0] }
    guard let number = UInt64(shift == nil ? argument[...] : argument.dropLast()) else { return nil }
    let (product, overflow) = number.multipliedReportingOverflow(by: 1 << (shift ?? 0))
    if overflow { return nil }
    bytes = product
  }
}
