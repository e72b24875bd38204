import BlobStore
import Glibc
import Posix
import Testing
import TestSupport

@testable import Image

extension Scratch {
  /// Writes an `image.json` over layer files, bottom to top, and returns its path.
  func config(_ layers: [String], name: String = "image.json") throws -> String {
    try write(name, try ImageConfig(lowers: layers.map { ImageConfig.Lower(file: $0) }).encoded())
  }
}

/// The whole merged view, read in pieces of `step` bytes.
func contents(of image: Image, step: Int = 1 << 20) throws -> [UInt8] {
  var reader = ImageReader(image)
  var bytes = [UInt8](repeating: 0xaa, count: Int(image.virtualSize))
  try bytes.withUnsafeMutableBytes { all in
    var offset = 0
    while offset < all.count {
      let end = min(all.count, offset + step)
      try reader.read(into: UnsafeMutableRawBufferPointer(rebasing: all[offset..<end]), at: UInt64(offset))
      offset = end
    }
  }
  return bytes
}

/// sha256 of bytes, hexadecimal.
func sha256(_ bytes: [UInt8]) -> String {
  var hash = BlobHash()
  bytes.withUnsafeBytes { hash.update($0) }
  return hash.hexadecimal()
}
