/// The tar around a layer: registries hold layers as archives with a single entry, so that plain containerd can
/// unpack them.
///
/// There are two forms: a ustar header and the layer at byte 512, or a pax header that has the size, a ustar header
/// and the layer at byte 1536. Whatever follows the layer is ignored.
public struct TarWrapper: Equatable, Sendable {
  /// Where the layer begins, in bytes.
  public let payloadOffset: UInt64
  /// The layer's size, in bytes. It lies inside the file.
  public let payloadSize: UInt64

  /// How many of a file's first bytes are enough to parse any header that writers make.
  public static let prefixSize = 4096

  static let blockSize = 512

  /// Offsets and lengths of a header's fields, in bytes.
  enum Field {
    static let name = 0..<100
    static let mode = 100..<108
    static let uid = 108..<116
    static let gid = 116..<124
    static let size = 124..<136
    static let mtime = 136..<148
    static let checksum = 148..<156
    static let type = 156
    static let magic = 257..<262
    static let version = 263..<265
    static let userName = 265..<297
    static let groupName = 297..<329
    static let deviceMajor = 329..<337
    static let deviceMinor = 337..<345
  }
}
