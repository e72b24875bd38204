import Glibc
import Posix
import Testing

/// Images whose layers are in a registry only. Made and pushed once; the registry is started again for each test.
struct RemoteSample: Sendable {
  let raw: String
  let layers: [RemoteLayer]

  /// The disk of `Sample`, each quarter of it in a layer of its own, with nothing that a later one hides: reading all of
  /// the disk needs all bytes of all layers.
  static func stack() throws -> RemoteSample { try stackResult.get() }
  /// The files of its layers, bottom to top.
  static func stackFiles() throws -> [String] { try stackFilesResult.get() }
  /// The same in one compressed layer.
  static func lz4() throws -> RemoteSample { try lz4Result.get() }
  /// The same, uncompressed.
  static func plain() throws -> RemoteSample { try plainResult.get() }
  /// 80 MiB of noise, uncompressed: more than the caches that tests make small have room for.
  static func large() throws -> RemoteSample { try largeResult.get() }

  func content() throws -> RawContent { try RawContent(raw) }

  /// The registry that has them, running.
  static func registry() throws -> Registry {
    let registry = try registryResult.get().registry
    try registry.start()
    registry.goOn()
    return registry
  }

  /// Writes the image's configuration into `scratch`; with `dirs`, each layer has a folder there.
  func config(
    _ scratch: Scratch, _ name: String = "remote.json", sizes: Bool = true, url: String? = nil, more: String = "",
    dirs: Bool = false
  ) throws -> String {
    let lowers = try layers.enumerated().map { number, layer in
      var fields = #""digest": "\#(layer.digest)""#
      if sizes { fields += #", "size": \#(layer.size)"# }
      if dirs {
        try makeDirectories(scratch("layer\(number)"))
        fields += #", "dir": "\#(scratch("layer\(number)"))""#
      }
      return "{\(fields)}"
    }
    return try scratch.write(
      name,
      #"{"repoBlobUrl": "\#(try url ?? Self.registry().repoBlobURL)", "lowers": [\#(lowers.joined(separator: ", "))]\#(more)}"#
    )
  }

  /// A disk of a test's own, the first half of it in an uncompressed layer and the rest in one of LZ4. Their files stay in
  /// `scratch` only until they are pushed.
  static func push(_ raw: String, in scratch: Scratch) throws -> RemoteSample {
    let size = Int(try Descriptor.open(raw).status().st_size)
    try need("sh", "-c", "head -c \(size / 2) \(raw) >\(raw).half && truncate -s \(size) \(raw).half")
    let lower = try Warmblk.importing("\(raw).half", to: scratch("lower"), ["--compress", "none"])
    _ = try Warmblk.importing(raw, to: scratch("upper"), ["--compress", "lz4", "--parent", lower])
    let layers = try registry().push(["lower", "upper"].map { scratch("\($0)/overlaybd.commit") })
    try need("rm", "-r", scratch("lower"), scratch("upper"), "\(raw).half")
    return RemoteSample(raw: raw, layers: layers)
  }

  var size: Int { layers.reduce(0) { $0 + $1.size } }

  // MARK: Making them

  /// Tests run one at a time.
  private struct Shared: @unchecked Sendable { let registry: Registry }
  private static let registryResult = Result { Shared(registry: try Registry()) }
  private static let folder = Result { try Scratch(.tmpfs) }
  private static let raw = Result { () throws -> String in
    _ = try Sample.content()
    return "/dev/shm/sample.img"
  }

  private static let stackResult = Result { () throws -> RemoteSample in
    RemoteSample(raw: try raw.get(), layers: try registry().push(try stackFiles()))
  }

  private static let stackFilesResult = Result { () throws -> [String] in
    let (folder, raw) = (try Self.folder.get(), try Self.raw.get())
    var layers: [String] = []
    var parent: [String] = []
    for (number, codec) in ["none", "lz4", "zstd", "lz4"].enumerated() {
      // Sectors, so that the last layer gets the odd end.
      let end = number == 3 ? Sample.sectors : Sample.sectors / 4 * (number + 1)
      try need(
        "sh", "-c",
        "rm -f \(folder("part")) && truncate -s \(Sample.sectors * 512) \(folder("part")) && dd if=\(raw) of=\(folder("part")) bs=512 count=\(end) conv=notrunc status=none"
      )
      let config = try Warmblk.importing(folder("part"), to: folder("stack\(number)"), ["--compress", codec] + parent)
      parent = ["--parent", config]
      layers.append(folder("stack\(number)/overlaybd.commit"))
    }
    return layers
  }

  private static let lz4Result = Result { try single(.lz4) }
  private static let plainResult = Result { try single(.none) }

  private static func single(_ codec: Sample.Codec) throws -> RemoteSample {
    RemoteSample(raw: try raw.get(), layers: try registry().push([try Sample.layerFile(codec)]))
  }

  private static let largeResult = Result { () throws -> RemoteSample in
    let folder = try Self.folder.get()
    try need("dd", "if=/dev/urandom", "of=\(folder("large.img"))", "bs=1M", "count=80", "status=none")
    _ = try Warmblk.importing(folder("large.img"), to: folder("large"), ["--compress", "none"])
    let layers = try registry().push([folder("large/overlaybd.commit")])
    try need("rm", folder("large/overlaybd.commit"))
    return RemoteSample(raw: folder("large.img"), layers: layers)
  }
}
