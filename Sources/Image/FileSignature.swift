import LSMT
import ZFile

/// What the first bytes of a file say about it, for messages: people point at compressed or plain images by mistake.
struct FileSignature: CustomStringConvertible {
  let description: String

  init(_ bytes: [UInt8]) {
    let known: [([UInt8], String)] = [
      ([0x1f, 0x8b], "the magic of gzip: unpack it first"),
      ([0x28, 0xb5, 0x2f, 0xfd], "the magic of zstd: unpack it first"),
      ([0x51, 0x46, 0x49, 0xfb], "the magic of qcow2: convert it to raw and import that"),
      ([0x7b], "`{`: a configuration, not a layer"),
    ]
    let zeroes = bytes.prefix(512).allSatisfy { $0 == 0 }
    if let match = known.first(where: { bytes.starts(with: $0.0) }) {
      description = match.1
    } else if zeroes {
      description = "zeroes: a raw disk image perhaps, which can be imported"
    } else {
      let hex = bytes.prefix(8).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }
      description = "bytes \(hex.joined(separator: " "))"
    }
  }

  /// Whether it begins as a configuration does: with a brace.
  static func isJSON(_ bytes: [UInt8]) -> Bool {
    bytes.first { !Array(" \t\r\n".utf8).contains($0) } == UInt8(ascii: "{")
  }

  /// What a file would be if it went on after `bytes`, which are all that it has: too few for a format's own check of
  /// its first bytes. nil when nothing speaks for any format.
  static func cutFormat(_ bytes: [UInt8]) -> String? {
    if bytes.isEmpty { return nil }
    if LayerRecord.magic.starts(with: bytes) { return "an LSMT layer" }
    if ZFileRecord.magic.starts(with: bytes) { return "a ZFile" }
    if bytes.count < 512, bytes.dropFirst(257).starts(with: Array("ustar".utf8)) { return "a tar" }
    return nil
  }
}
