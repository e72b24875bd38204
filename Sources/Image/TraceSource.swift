import Glibc
import Posix
import Trace
import ZFile

/// A file that says what to have at hand, of whatever kind; see ``TraceFormat``.
public enum TraceSource: Sendable {
  /// A trace of ours, from its own form or from JSON.
  case accesses(AccessTrace)
  /// A trace of overlaybd.
  case overlaybd(OverlaybdTrace)
  /// A text of reads.
  case reads(DeviceReads)

  /// The most bytes of a file: texts of as many accesses as a trace can have are this long.
  public static let bytesMax = 4 << 30

  /// Reads the file at `path`, which may be a pipe. A tar with the trace in it, overlaybd's acceleration layer, is looked
  /// into.
  ///
  /// - Throws: `system`, `trace`, `zfile`.
  public static func load(_ path: String) throws(ImageError) -> TraceSource {
    let bytes: [UInt8]
    do throws(Errno) {
      bytes = try readFile(path, limit: bytesMax)
    } catch {
      if error.rawValue == EFBIG {
        throw .refused("\(path): more than \(bytesMax) bytes, which is the most of a trace")
      }
      throw .system(call: "reading the trace", path: path, error)
    }
    let payload = try unwrapped(bytes, path)
    do throws(TraceError) { return try parse(payload.span.bytes, path) } catch { throw .trace(path: path, error) }
  }

  /// What is in the tar, if it is one.
  private static func unwrapped(_ bytes: [UInt8], _ path: String) throws(ImageError) -> ArraySlice<UInt8> {
    do throws(ZFileError) {
      guard let tar = try TarWrapper(parsing: bytes.span.bytes, fileSize: UInt64(bytes.count)) else {
        return bytes[...]
      }
      return bytes[Int(tar.payloadOffset)..<Int(tar.payloadOffset + tar.payloadSize)]
    } catch {
      throw .zfile(path: path, offset: 0, error)
    }
  }

  private static func parse(_ bytes: RawSpan, _ path: String) throws(TraceError) -> TraceSource {
    let format = try TraceFormat(prefix: bytes.extracting(first: TraceFormat.prefixSize))
    switch format {
    case .warmblk: return .accesses(try AccessTrace(parsing: bytes))
    case .overlaybd: return .overlaybd(try OverlaybdTrace(parsing: bytes))
    case .json: return .accesses(try AccessTrace(parsingJSON: bytes))
    case .ranges, .blkparse, .iolog: return .reads(try DeviceReads(parsing: bytes, as: format))
    }
  }

  /// The trace of `image` that it amounts to.
  public func trace(on image: Image) throws(ImageError) -> MadeTrace {
    switch self {
    case .accesses(let trace): try image.trace(of: trace)
    case .overlaybd(let trace): try image.trace(of: trace)
    case .reads(let reads): try image.trace(of: reads.reads)
    }
  }
}
