import Glibc
import Host
import Image
import Posix
import Trace

/// The files that `optimize` writes, and the one that it records into before it knows whether there is anything to write.
struct OptimizeResults {
  let config: ImageConfig
  /// The trace in our own form; nil for none.
  let output: String?
  /// overlaybd's form; nil for none.
  let layer: AccelerationLayer?
  let force: Bool

  /// Where the server records to: beside the result, hidden.
  var recordingPath: String {
    guard let path = output.map({ absolutePath($0) }) ?? layer?.tracePath else { preconditionFailure("validated") }
    let slash = path.lastIndex(of: "/") ?? path.startIndex
    return "\(path[..<slash])/.warmblk-optimize.\(getpid())"
  }

  /// Refuses what would be in the way, before anything takes time.
  func prepare() throws(HostError) {
    if let output, !force, fileExists(output) {
      throw .refused("\(output) is there already: give another name, or --force to replace it")
    }
    var status = stat()
    if let output, stat(output, &status) == 0, status.st_mode & S_IFMT != S_IFREG {
      throw .refused("\(output) is there and no file: name another one for the trace")
    }
    try imageResult { () throws(ImageError) in try layer?.prepare(force: force) }
  }

  /// Removes what was recorded into.
  func cleanUp() { _ = unlink(recordingPath) }

  /// Makes the results of what was recorded; their names. The process may have threads from here on.
  func publish(_ settings: RemoteSettings) throws(HostError) -> String {
    let bytes = try reading { () throws(Errno) in try readFile(recordingPath, limit: AccessTrace.bytesMax) }
    let trace: AccessTrace
    do throws(TraceError) { trace = try AccessTrace(parsing: bytes.span.bytes) } catch {
      throw .image(.trace(path: recordingPath, error))
    }
    if trace.accesses.isEmpty { throw .refused("nothing was read of the disk: no trace is written") }
    var names: [String] = []
    if let output {
      do throws(Errno) { try writeFileAtomically(output, bytes, durable: true) } catch {
        throw .system(what: "write the trace \(output)", error)
      }
      names.append(output)
    }
    if let layer {
      let written = try write(trace, to: layer, settings)
      printError("\(layer.archivePath): \(written.digest), \(written.size) bytes")
      names.append(layer.configPath)
    }
    return names.joined(separator: ", ")
  }

  private func write(_ trace: AccessTrace, to layer: AccelerationLayer, _ settings: RemoteSettings) throws(HostError)
    -> AccelerationLayer.Written
  {
    var settings = settings
    // The trace is recorded: who waits for it learns that the registry is away.
    settings.waitsForever = false
    return try imageResult { () throws(ImageError) in
      // Where a layer's bytes are in overlaybd's terms, only the image knows.
      let image = try Image.open(config: config.forTrial, remote: settings)
      let made = try image.trace(of: trace)
      return try layer.write(image.overlaybdTrace(of: made.trace), for: config)
    }
  }

  private func reading<T>(_ body: () throws(Errno) -> T) throws(HostError) -> T {
    do throws(Errno) { return try body() } catch { throw .system(what: "read what was recorded", error) }
  }
}
