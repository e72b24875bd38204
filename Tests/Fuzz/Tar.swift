import ZFile

/// The tar around a layer, as it is and with the headers' checksums set right, which no mutation would get right.
enum TheFuzzer: Fuzzer {
  private static let block = 512
  private static let checksumField = 148..<156

  static func run(_ input: [UInt8]) {
    parse(input)
    parse(repaired(input))
  }

  private static func parse(_ file: [UInt8]) {
    // A file that goes on behind the bytes that are given, and one that does not.
    for fileSize in [UInt64(file.count), UInt64(Int64.max)] {
      do throws(ZFileError) {
        guard let tar = try TarWrapper(parsing: file.span.bytes, fileSize: fileSize) else { continue }
        require(tar.payloadOffset >= UInt64(block), "\(tar) begins in its own header")
        require(
          tar.payloadOffset <= fileSize && tar.payloadSize <= fileSize - tar.payloadOffset,
          "\(tar) in a file of \(fileSize) bytes")
      } catch {
        require(!error.description.isEmpty, "an error without words")
      }
    }
  }

  private static func repaired(_ input: [UInt8]) -> [UInt8] {
    var file = input
    for start in stride(from: 0, through: min(file.count, 4096) - block, by: block) {
      for byte in checksumField { file[start + byte] = UInt8(ascii: " ") }
      var sum = file[start..<start + block].reduce(0) { $0 + Int($1) }
      for byte in checksumField.prefix(6).reversed() {
        file[start + byte] = UInt8(ascii: "0") + UInt8(sum & 7)
        sum >>= 3
      }
      file[start + checksumField.lowerBound + 6] = 0
    }
    return file
  }

  static func seeds() -> [[UInt8]] {
    var result = [TarWrapper.placeholder()]
    for size: UInt64 in [0, 1, 512, 4096, 1 << 33, 1 << 62] {
      let header = TarWrapper.header(payloadSize: size)
      // With the pax header and without it, with some of the layer and without it.
      result.append(header)
      result.append(Array(header[(2 * block)...]))
      result.append(header + [UInt8](repeating: 0x5A, count: 1000))
    }
    return result
  }
}
