import BlobStore
import Trace

/// Traces, ours and overlaybd's.
extension Inspector {
  mutating func inspectOverlaybdTrace(_ blob: Blob) throws(ImageError) {
    result.kind = .overlaybdTrace
    let bytes = try traceBytes(blob)
    do throws(TraceError) {
      let records = try OverlaybdTrace(parsing: bytes.span.bytes).records
      result.trace = .init(
        records: records.count, bytes: records.reduce(0) { $0.addingReportingOverflow($1.count).partialValue },
        layers: records.map { UInt64($0.layer) + 1 }.max() ?? 0)
    } catch {
      add(file: blob.path, message: "\(blob.path): \(error)")
    }
  }

  mutating func inspectTrace(_ blob: Blob) throws(ImageError) {
    result.kind = .trace
    let bytes = try traceBytes(blob)
    do throws(TraceError) {
      let trace = try AccessTrace(parsing: bytes.span.bytes)
      result.trace = .init(
        records: trace.accesses.count, bytes: TraceTotals(trace).bytes, layers: UInt64(trace.layers.count))
    } catch {
      add(file: blob.path, message: "\(blob.path): \(error)")
    }
  }

  private func traceBytes(_ blob: Blob) throws(ImageError) -> [UInt8] {
    guard blob.payloadSize <= UInt64(AccessTrace.bytesMax) else {
      throw .refused(
        "\(blob.path): a trace of \(blob.payloadSize) bytes; the largest that is read has \(AccessTrace.bytesMax)")
    }
    return try blob.bytes(at: 0, count: Int(blob.payloadSize))
  }
}
