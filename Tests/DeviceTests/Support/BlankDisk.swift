import Testing

/// A device of a blank disk that `warmblk create` has made, in a folder of a test.
struct BlankDisk {
  let folder: String
  let device: Disk
  var config: String { "\(folder)/image.json" }
  var data: String { "\(folder)/upper.data" }

  /// With words for `add`.
  init(_ scratch: Scratch, _ name: String = "disk", size: String, _ words: String...) throws {
    folder = scratch(name)
    try need(Guest.binary, "create", "--size", size, "-o", folder)
    let outcome = try Warmblk.start(["add", "--config", "\(folder)/image.json"] + words).wait(seconds: 60)
    device = try Warmblk.disk(outcome)
  }

  /// Takes the device away; nothing of it stays but the files.
  func remove() throws { try Warmblk.del(device) }
}
