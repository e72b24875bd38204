import Glibc
import Image
import Posix
import Trace

/// From files to what has to be fetched.
extension WarmPlan {
  /// The plan of the traces that `options` and the image name; nil without any that can be read and is of this image, or
  /// when nothing shall be prefetched. A trace that is damaged, or of something else, is told of, and no reason to have no
  /// disk.
  static func load(_ options: WarmOptions, _ image: Image, warn: (String) -> Void) throws(HostError) -> WarmPlan? {
    if options.mode == .off { return nil }
    var paths = options.traces
    if let own = image.config.ownTrace {
      paths.append(own)
    } else if let path = image.config.noTraceFile {
      warn("\(path) is no file; the device is made without this trace")
    }
    if paths.isEmpty {
      if options.mode == nil, options.level == .blob, options.bytesPerSecond == nil { return nil }
      throw .refused(
        "nothing says what to warm: the image has no trace of its own; name one with --trace, or leave --warm, "
          + "--warm-into and --prefetch-rate out")
    }
    var traces: [AccessTrace] = []
    for path in paths {
      do throws(ImageError) {
        let made = try TraceSource.load(path).trace(on: image)
        for note in made.notes { warn("\(path): \(note)") }
        // A device that waited for nothing must not be called warm.
        if made.trace.accesses.isEmpty, !made.notes.isEmpty {
          warn("\(path): it names nothing that this image has; the device is made without this trace")
        } else {
          traces.append(made.trace)
        }
      } catch {
        warn("\(error); the device is made without this trace")
      }
    }
    return traces.isEmpty ? nil : WarmPlan(traces, for: image, includesDevice: options.level == .pageCache)
  }
}

extension ImageConfig {
  /// The trace that the image brings: in its acceleration layer, or at its `recordTracePath`. Nil when it is not there or
  /// empty.
  public var ownTrace: String? {
    var status = stat()
    guard let path = layerTrace ?? recordTracePath, stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFREG,
      status.st_size > 0
    else { return nil }
    return path
  }

  /// What is in the place of the acceleration layer's trace and cannot be one. (What a recordTracePath may be is the
  /// recording's to say.)
  fileprivate var noTraceFile: String? {
    var status = stat()
    guard let layerTrace, stat(layerTrace, &status) == 0, status.st_mode & S_IFMT != S_IFREG else { return nil }
    return layerTrace
  }

  private var layerTrace: String? { accelerationLayer?.dir.map { "\($0)/trace" } }
}
