import FoundationEssentials
import JSON
import Posix
import Trace

/// A report as JSON:
///
///     {"wasted":[{"layer":"sha256:…","offset":4096,"length":1024}],
///      "untraced":[{"layer":"sha256:…","offset":8192,"length":2048,"microseconds":1500}]}
extension GradeReport {
  /// The most bytes of a report's file.
  private static let bytesMax = 256 << 20

  /// Reads the report at `path`. Keys besides those above are for others and not looked at.
  public static func load(_ path: String) throws(ImageError) -> GradeReport {
    let bytes: [UInt8]
    do throws(Errno) { bytes = try readFile(path, limit: bytesMax) } catch {
      throw .system(call: "reading the report", path: path, error)
    }
    guard let value = JSONValue(bytes) else {
      throw .json(name: path, key: "", "is not JSON; `warmblk trace grade` writes reports")
    }
    return GradeReport(
      wasted: try parts(value, "wasted", path), untraced: try parts(value, "untraced", path))
  }

  /// The file's bytes.
  public func encoded() throws(ImageError) -> [UInt8] {
    let file = File(
      wasted: wasted.map { File.Part($0, microseconds: nil) },
      untraced: untraced.map { File.Part($0, microseconds: $0.microseconds) })
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    do { return try [UInt8](encoder.encode(file)) + [UInt8(ascii: "\n")] } catch {
      throw .refused("the report cannot be written as JSON: \(error)")
    }
  }

  /// The form that is written.
  private struct File: Encodable {
    struct Part: Encodable {
      let layer: String
      let offset: UInt64
      let length: UInt64
      let microseconds: UInt64?

      init(_ part: GradeReport.Part, microseconds: UInt64?) {
        layer = part.layer
        offset = part.stored.lowerBound
        length = part.stored.upperBound - part.stored.lowerBound
        self.microseconds = microseconds
      }
    }

    let wasted: [Part]
    let untraced: [Part]
  }

  private static func parts(_ report: JSONValue, _ key: String, _ path: String) throws(ImageError) -> [Part] {
    guard let elements = report[key]?.elements else {
      throw .json(name: path, key: key, "is not there, or no array: this is no report of prefetching")
    }
    var parts: [Part] = []
    for (number, element) in elements.enumerated() {
      guard let layer = element["layer"]?.string, let offset = element["offset"]?.integer,
        let length = element["length"]?.integer, length > 0, offset <= Int64.max, length <= UInt64(Int64.max) - offset
      else {
        throw .json(
          name: path, key: "\(key)[\(number)]",
          "has no text `layer`, or no numbers `offset` and `length` of a file's bytes")
      }
      let time = element["microseconds"]?.integer ?? 0
      parts.append(Part(layer: layer, stored: offset..<offset + length, microseconds: min(time, UInt64(Int64.max))))
    }
    return parts
  }
}
