import Glibc

/// What the file of a fuzzer gives: what is done with an input, and inputs to begin with.
protocol Fuzzer {
  /// Must return for any bytes. What it finds wrong it says with ``require(_:_:)``.
  static func run(_ input: [UInt8])
  /// Well-formed inputs of many kinds, made by the project's own writers.
  static func seeds() -> [[UInt8]]
}

/// Ends the fuzzer when `condition` does not hold; libFuzzer then keeps the input.
@inline(__always)
func require(_ condition: Bool, _ text: @autoclosure () -> String) {
  if !condition { fatalError(text()) }
}

/// What libFuzzer calls with every input.
@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  // A copy of the exact size: a read beyond its end is one that the address sanitizer sees.
  TheFuzzer.run([UInt8](UnsafeBufferPointer(start: bytes, count: count)))
  return 0
}

/// What libFuzzer calls first. With WARMBLK_FUZZ_SEEDS the seeds go into that folder, and that is all.
@_cdecl("LLVMFuzzerInitialize")
public func initialize(
  _ argumentCount: UnsafePointer<CInt>?, _ arguments: UnsafePointer<UnsafePointer<UnsafePointer<CChar>?>?>?
) -> CInt {
  guard let folder = getenv("WARMBLK_FUZZ_SEEDS") else { return 0 }
  for (number, seed) in TheFuzzer.seeds().enumerated() {
    let path = "\(String(cString: folder))/own-\(number)"
    guard let file = fopen(path, "w"), fwrite(seed, 1, seed.count, file) == seed.count, fclose(file) == 0
    else {
      perror(path)
      exit(1)
    }
  }
  exit(0)
}

extension [UInt8] {
  /// The little-endian integer at `offset`; zero where the bytes end.
  func little<Integer: FixedWidthInteger>(_ type: Integer.Type, at offset: Int) -> Integer {
    (0..<Integer.bitWidth / 8).reduce(0) { value, byte in
      offset + byte < count ? value | Integer(self[offset + byte]) << Integer(8 * byte) : value
    }
  }

  /// Stores a little-endian integer at `offset`, which must leave room for it.
  mutating func store(_ value: some FixedWidthInteger, at offset: Int) {
    Swift.withUnsafeBytes(of: value.littleEndian) { replaceSubrange(offset..<offset + $0.count, with: $0) }
  }
}
