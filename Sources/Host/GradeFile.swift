import BlobStore
import Device
import Glibc
import Image
import Posix
import Trace

/// What became of what was prefetched of a device, as a file for `warmblk trace trim`: `warmblk trace grade`.
public enum GradeFile {
  /// Has the server of device `id` write its report to `path`, an absolute one whose folder must be there. Says how many
  /// bytes were brought and not read so far, and how many were waited for and not named.
  public static func write(
    _ id: UInt32, _ path: String, _ directory: RunDirectory
  ) throws(HostError) -> (wasted: UInt64, untraced: UInt64) {
    let folder = try TraceFolder.of(path)
    let reply = try ControlClient(id: id, directory: directory).ask(
      .grade(path: path), passing: folder.rawValue, Deadline(milliseconds: 30_000))
    guard case .graded(let wasted, let untraced) = reply else {
      throw .refused("the server of device \(id) answers something else; is it of another version of warmblk?")
    }
    return (wasted, untraced)
  }

  /// What the store of `device` says, with layers by their identity. On the server's side.
  static func report(on device: Device) throws(HostError) -> GradeReport {
    guard let remote = device.image.remote else {
      throw .refused("\(device.path): all layers are files of this machine, of which nothing is prefetched")
    }
    // A layer may be in the stack several times.
    var seen = Set<ObjectIdentifier>()
    var identities: [String] = []
    var blobs: [RemoteBlob] = []
    for (layer, known) in zip(device.image.layers, device.image.traceLayers) {
      guard let blob = layer.blob.remote?.blob, seen.insert(ObjectIdentifier(blob)).inserted else { continue }
      identities.append(known.identity)
      blobs.append(blob)
    }
    let answer = OneShot<[GradedRanges?]>()
    remote.store.gradedRanges(of: blobs) { answer.set($0) }
    guard let graded = answer.wait(Deadline(milliseconds: 5000)) else {
      throw .refused("\(device.path): the store did not say in 5 s what was read; its thread is stuck")
    }
    guard graded.contains(where: { $0 != nil }) else {
      throw .refused("\(device.path): nothing was prefetched: add it with --trace, read it, and ask again")
    }
    var report = GradeReport()
    for (identity, ranges) in zip(identities, graded) {
      guard let ranges else { continue }
      report.wasted += ranges.unread.map { GradeReport.Part(layer: identity, stored: $0) }
      report.untraced += ranges.untraced.map {
        GradeReport.Part(layer: identity, stored: $0.range, microseconds: $0.microseconds)
      }
    }
    return report
  }

  /// Puts the report in the place of `path`: durable, whole or not at all.
  static func write(_ report: GradeReport, _ path: String, _ folder: TraceFolder) throws(HostError) {
    let name = String(path[(path.lastIndex(of: "/").map(path.index(after:)) ?? path.startIndex)...])
    guard !name.isEmpty, name != ".", name != ".." else { throw .refused("\(path): a report needs the name of a file") }
    let bytes: [UInt8]
    do throws(ImageError) { bytes = try report.encoded() } catch { throw .image(error) }
    try HostError.describing("write the report \(path)") { () throws(Errno) in
      let before = folder.status(name)
      if let before, before.st_mode & S_IFMT != S_IFREG { throw Errno(rawValue: EEXIST) }
      try folder.replace(name, bytes, like: before)
    }
  }
}
