import FoundationEssentials
import Posix

extension ImageConfig {
  /// No real configuration comes near: 255 layers of long paths are under 1 MiB.
  static let sizeLimit = 4 << 20

  /// Reads the file at `path`.
  public static func load(_ path: String) throws(ImageError) -> ImageConfig {
    let file = absolutePath(path)
    let bytes: [UInt8]
    do throws(Errno) {
      bytes = try readFile(file, limit: sizeLimit)
    } catch {
      throw .system(call: "reading the image configuration", path: file, error)
    }
    var config = try parse(bytes, folder: folder(of: file), name: file)
    config.path = file
    return config
  }

  /// Parses JSON. `folder` is what relative paths count from, `name` what errors call it.
  public static func parse(
    _ bytes: [UInt8], folder: String, name: String = "the image configuration"
  ) throws(ImageError) -> ImageConfig {
    let document = try decodeJSON(ImageDocument.self, bytes, name: name)
    try document.check(name: name)
    let resolve = { (path: String?) in absent(path).map { absolutePath($0, in: folder) } }
    var config = ImageConfig(
      lowers: (document.lowers ?? []).map {
        Lower(
          file: resolve($0.file), dir: resolve($0.dir), digest: absent($0.digest), size: $0.size,
          targetFile: resolve($0.targetFile), targetDigest: absent($0.targetDigest),
          gzipIndex: resolve($0.gzipIndex))
      })
    if let upper = document.upper {
      config.upper = Upper(
        index: resolve(upper.index), data: resolve(upper.data), target: resolve(upper.target),
        gzipIndex: resolve(upper.gzipIndex), virtualSize: upper.vsize)
    }
    config.repoBlobURL = absent(document.repoBlobUrl)
    config.resultFile = resolve(document.resultFile)
    config.download = document.download
    if document.accelerationLayer ?? false { config.accelerationLayer = config.lowers.popLast() }
    config.recordTracePath = resolve(document.recordTracePath)
    return config
  }

  /// The JSON form, with the keys that the snapshotter always writes; ends with a newline.
  public func encoded() throws(ImageError) -> [UInt8] {
    let document = ImageDocument(
      repoBlobUrl: repoBlobURL ?? "",
      lowers: (lowers + [accelerationLayer].compactMap(\.self)).map {
        ImageDocument.Lower(
          file: $0.file, dir: $0.dir, digest: $0.digest, size: $0.size, targetFile: $0.targetFile,
          targetDigest: $0.targetDigest, gzipIndex: $0.gzipIndex)
      },
      upper: ImageDocument.Upper(
        index: upper.index, data: upper.data, target: upper.target, gzipIndex: upper.gzipIndex,
        vsize: upper.virtualSize),
      resultFile: resultFile ?? "", download: download,
      accelerationLayer: accelerationLayer == nil ? nil : true, recordTracePath: recordTracePath)
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    do {
      return try [UInt8](encoder.encode(document)) + [UInt8(ascii: "\n")]
    } catch {
      throw .json(name: name, key: "", "cannot be written: \(error)")
    }
  }
}

/// The keys as they are in the file.
struct ImageDocument: Codable {
  struct Lower: Codable {
    var file, dir, digest: String?
    var size: UInt64?
    var targetFile, targetDigest, gzipIndex: String?
  }
  struct Upper: Codable {
    var index, data, target, gzipIndex: String?
    var vsize: UInt64?
  }
  var repoBlobUrl: String?
  var lowers: [Lower]?
  var upper: Upper?
  var resultFile: String?
  var download: ImageConfig.Download?
  var accelerationLayer: Bool?
  var recordTracePath: String?

  /// A path with a NUL would silently be another path: the kernel stops reading there.
  func check(name: String) throws(ImageError) {
    var texts = [
      ("resultFile", resultFile), ("recordTracePath", recordTracePath), ("upper.data", upper?.data),
      ("upper.index", upper?.index),
    ]
    for (number, lower) in (lowers ?? []).enumerated() {
      texts += [("lowers[\(number)].file", lower.file), ("lowers[\(number)].dir", lower.dir)]
    }
    for (field, text) in texts where text?.utf8.contains(0) ?? false {
      throw .invalid(name: name, field: field, problem: "contains a NUL character")
    }
  }
}

/// An empty string says the same as no key: the snapshotter writes both.
func absent(_ text: String?) -> String? { text == "" ? nil : text }
