extension ImageConfig {
  /// Whether it has a layer that one server at a time may have open.
  public var isWritable: Bool { upper.data != nil || upper.index != nil }

  /// Throws for the first field that changes what is read and is not served: serving the rest would be other bytes.
  func requireSupported(upper use: UpperUse = .refused) throws(ImageError) {
    if lowers.isEmpty, upper.data == nil {
      throw .invalid(name: name, field: "lowers", problem: "no layers; name one at least")
    }
    if case .refused = use, isWritable {
      throw .invalid(
        name: name, field: upper.data != nil ? "upper.data" : "upper.index",
        problem: "is a writable layer, and an image is wanted here that does not change: make it one of `lowers` with "
          + "`warmblk seal` or `warmblk commit`, or remove `upper` to use what is below it")
    }
    if upper.target != nil || upper.gzipIndex != nil {
      throw .unsupported(
        name: name, field: upper.target != nil ? "upper.target" : "upper.gzipIndex",
        advice: "turboOCI is not served; convert the image to overlaybd layers")
    }
    if accelerationLayer != nil, let recordTracePath {
      throw .invalid(
        name: name, field: "recordTracePath",
        problem: "is \(recordTracePath), and accelerationLayer is true; an image has one trace: remove one of them")
    }
    for (number, lower) in lowers.enumerated() {
      let fields = [
        ("targetFile", lower.targetFile), ("targetDigest", lower.targetDigest), ("gzipIndex", lower.gzipIndex),
      ]
      if let field = fields.first(where: { $0.1 != nil })?.0 {
        throw .unsupported(
          name: name, field: "lowers[\(number)].\(field)",
          advice: "turboOCI is not served; convert the image to overlaybd layers")
      }
    }
  }

  /// The files of the writable layer; nil when there is none.
  public func upperFiles() throws(ImageError) -> (data: String, index: String)? {
    if upper.data == nil && upper.index == nil { return nil }
    guard let data = upper.data, let index = upper.index else {
      let missing = upper.data == nil ? "upper.data" : "upper.index"
      throw .invalid(
        name: name, field: missing, problem: "is not there; a writable layer has two files: name its data and its index"
      )
    }
    return (data, index)
  }

  /// Fields that are set, change nothing of what is read, and have no effect; a sentence each.
  public var warnings: [String] {
    var fields: [String] = []
    if upper.virtualSize != nil, upper.data == nil { fields.append("`upper.vsize`: there is no upper") }
    return fields.map { "\(name): \($0)" }
  }
}
