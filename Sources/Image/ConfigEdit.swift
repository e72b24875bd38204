import Glibc
import JSON
import Posix

/// A change to the file of a configuration that keeps everything else as it is: relative paths, keys that only others
/// know, the order.
struct ConfigEdit {
  /// The file itself, behind symbolic links.
  private let path: String
  private let mode: UInt32
  private var members: [JSONValue.Member]

  /// Reads the configuration at `path`, which is one already.
  init(_ path: String) throws(ImageError) {
    var status = stat()
    guard let real = realpath(path, nil), stat(real, &status) == 0 else {
      throw .system(call: "looking for the image configuration", path: path, .last)
    }
    defer { free(real) }
    self.path = String(cString: real)
    mode = status.st_mode & 0o777
    let bytes: [UInt8]
    do throws(Errno) { bytes = try readFile(path, limit: ImageConfig.sizeLimit) } catch {
      throw .system(call: "reading the image configuration", path: path, error)
    }
    guard let members = JSONValue(bytes)?.members else {
      throw .json(name: path, key: "", "is not a JSON object")
    }
    self.members = members
  }

  /// Makes the data file of the upper, sealed by now and of `size` bytes, the topmost of the lowers.
  mutating func lowerUpper(size: UInt64) throws(ImageError) {
    guard let data = self["upper"]?["data"]?.string else {
      throw .invalid(name: path, field: "upper.data", problem: "is missing")
    }
    var lowers = self["lowers"]?.elements ?? []
    // The trace of an image stays on top.
    let hasTrace = self["accelerationLayer"]?.boolean == true
    let place = hasTrace && !lowers.isEmpty ? lowers.count - 1 : lowers.count
    lowers.insert(
      .object([.init(key: "file", value: .string(data)), .init(key: "size", value: .number("\(size)"))]), at: place)
    members.removeAll { $0.key == "upper" }
    if let index = members.firstIndex(where: { $0.key == "lowers" }) {
      members[index].value = .array(lowers)
    } else {
      members.append(.init(key: "lowers", value: .array(lowers)))
    }
  }

  /// Makes these files the upper; there must be none.
  mutating func setUpper(data: String, index: String) {
    members.append(
      .init(
        key: "upper",
        value: .object([
          .init(key: "index", value: .string(index)), .init(key: "data", value: .string(data)),
        ])))
  }

  /// Replaces the file in one step.
  func save() throws(ImageError) {
    do throws(Errno) {
      try writeFileAtomically(path, JSONValue.object(members).encoded(), mode: mode, durable: true)
    } catch {
      throw .system(call: "writing the image configuration", path: path, error)
    }
  }

  private subscript(key: String) -> JSONValue? { members.first { $0.key == key }?.value }
}
