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
      throw .json(name: path, key: "", "is not JSON")
    }
    return GradeReport(
      wasted: try parts(value, "wasted", path), untraced: try parts(value, "untraced", path))
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
