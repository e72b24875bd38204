import Glibc
import TestSupport

@testable import Image

/// One to three layers in random forms, and what the disk reads as.
func randomImage(_ scratch: Scratch, _ random: inout SplitMix) throws -> (Image, [UInt8]) {
  var raw = [UInt8](repeating: 0, count: Int.random(in: 1...600, using: &random) * 512)
  var parent: String?
  for level in 0...Int.random(in: 0...2, using: &random) {
    for _ in 0..<Int.random(in: 1...10, using: &random) {
      let start = Int.random(in: 0..<raw.count, using: &random)
      let end = min(raw.count, start + Int.random(in: 1...60_000, using: &random))
      let isZero = Int.random(in: 0..<4, using: &random) == 0
      for position in start..<end {
        raw[position] = isZero ? 0 : position % 3 == 0 ? UInt8(truncatingIfNeeded: random.next()) : 7
      }
    }
    try scratch.write("raw", raw)
    var options = ImportOptions(source: scratch("raw"), directory: scratch("layer\(level)"))
    options.parent = parent
    options.compression = [nil, .lz4, .zstd].randomElement(using: &random)!
    options.blockSize = [4096, 16384, 65536].randomElement(using: &random)!
    options.granularity = [512, 4096].randomElement(using: &random)!
    options.isTarWrapped = Bool.random(using: &random)
    parent = try Importer.run(options).configPath
  }
  return (try Image.open(configPath: parent!), raw)
}
