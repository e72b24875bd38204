import Glibc
import Posix
import Testing

/// An image of our own: 8 MiB and three sectors, half of each sector the sector's number again and again, half of it
/// noise, so that nothing reads right at the wrong place. Made once.
enum Sample {
  enum Codec: String, CaseIterable, Sendable, CustomTestStringConvertible {
    case none, lz4, zstd
    var testDescription: String { rawValue }
    /// Blocks of different sizes, as no other test varies them with the codec.
    var words: [String] { ["--compress", rawValue] + (self == .zstd ? ["--block-size", "65536"] : []) }
  }

  static let sectors = 16_384 + 3

  /// The raw disk.
  static func content() throws -> RawContent { try raw.get() }

  /// The image's configuration; its one layer lies beside it as `overlaybd.commit`.
  static func image(_ codec: Codec) throws -> String {
    switch codec {
    case .none: try plain.get()
    case .lz4: try lz4.get()
    case .zstd: try zstd.get()
    }
  }

  /// The image's one layer.
  static func layerFile(_ codec: Codec) throws -> String {
    "/" + (try image(codec).split(separator: "/").dropLast().joined(separator: "/")) + "/overlaybd.commit"
  }

  /// A copy of the image that a test may damage, in `scratch`; the layer's path.
  static func copy(_ codec: Codec, to scratch: Scratch) throws -> (config: String, layer: String) {
    try need("cp", try layerFile(codec), scratch("layer"))
    return (try scratch.config([scratch("layer")]), scratch("layer"))
  }

  private static let path = "/dev/shm/sample.img"
  private static let raw = Result { () throws -> RawContent in
    var bytes = [UInt8](repeating: 0, count: sectors * 512)
    let noise = try Descriptor.open("/dev/urandom")
    try bytes.withUnsafeMutableBytes { buffer in
      _ = try noise.readFully(into: buffer, at: 0)
      for sector in 0..<sectors {
        let start = buffer.baseAddress! + sector * 512
        start.storeBytes(of: UInt32(sector), as: UInt32.self)
        for done in [4, 8, 16, 32, 64, 128] { memcpy(start + done, start, done) }
      }
    }
    try writeFileAtomically(path, bytes)
    return try RawContent(path)
  }

  private static let folder = Result { try Scratch() }
  private static let plain = Result { try make(.none) }
  private static let lz4 = Result { try make(.lz4) }
  private static let zstd = Result { try make(.zstd) }

  private static func make(_ codec: Codec) throws -> String {
    _ = try raw.get()
    return try Warmblk.importing(path, to: try folder.get()(codec.rawValue), codec.words)
  }
}
