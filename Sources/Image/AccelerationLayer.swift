import BlobStore
import Posix
import Trace
import ZFile

/// overlaybd's way to give an image its trace: a layer on top, an archive with the single file `trace`, which lies unpacked
/// in a folder that is the last of the configuration's `lowers`.
public struct AccelerationLayer {
  /// The folder, absolute.
  public let folder: String

  /// The one in `folder`, a path from the working directory.
  public init(folder: String) {
    var path = absolutePath(folder)
    while path.count > 1, path.hasSuffix("/") { path.removeLast() }
    self.folder = path
  }

  /// The trace as a replay finds it.
  public var tracePath: String { "\(folder)/trace" }
  /// The layer as a registry takes it: media type `application/vnd.oci.image.layer.v1.tar`.
  public var archivePath: String { "\(folder)/layer.tar" }
  /// The image with this layer on top.
  public var configPath: String { "\(folder)/config.v1.json" }

  /// What was written.
  public struct Written: Equatable, Sendable {
    /// `sha256:` and the hexadecimal digest of the archive, which is also the layer's DiffID.
    public let digest: String
    /// Bytes of the archive.
    public let size: Int
  }

  /// Makes the folder if it is missing, and refuses to replace what is there unless `force` allows it.
  ///
  /// - Throws: `system`, `refused`.
  public func prepare(force: Bool) throws(ImageError) {
    do throws(Errno) { try makeDirectories(folder) } catch {
      throw .system(call: "making the folder of the acceleration layer", path: folder, error)
    }
    for path in [tracePath, archivePath, configPath] where !force && fileExists(path) {
      throw .refused("\(path) is there already: give another folder, or --force to replace it")
    }
  }

  /// Writes the three files; the configuration last, so that whoever finds it finds the rest.
  ///
  /// - Throws: `system`, `json`.
  public func write(_ trace: OverlaybdTrace, for config: ImageConfig) throws(ImageError) -> Written {
    let content = trace.encoded()
    let archive = TarWrapper.archive(name: "trace", mode: 0o444, content: content)
    var layered = config
    // An image has one trace: a layer from before and a path to another one go.
    layered.accelerationLayer = ImageConfig.Lower(dir: folder)
    layered.recordTracePath = nil
    let text = try layered.encoded()
    try write(content, to: tracePath, mode: 0o444)
    try write(archive, to: archivePath, mode: 0o644)
    try write(text, to: configPath, mode: 0o644)
    var hash = BlobHash()
    archive.withUnsafeBytes { hash.update($0) }
    return Written(digest: "sha256:\(hash.hexadecimal())", size: archive.count)
  }

  private func write(_ bytes: [UInt8], to path: String, mode: UInt32) throws(ImageError) {
    do throws(Errno) { try writeFileAtomically(path, bytes, mode: mode, durable: true) } catch {
      throw .system(call: "writing the acceleration layer", path: path, error)
    }
  }
}

extension ImageConfig {
  /// The image without what a device does beside answering reads: no trace is replayed or recorded into, nothing is
  /// downloaded, and nobody is told of success.
  public var forTrial: ImageConfig {
    var config = self
    config.accelerationLayer = nil
    config.recordTracePath = nil
    config.resultFile = nil
    var download = config.download ?? Download()
    download.enable = false
    config.download = download
    return config
  }
}
