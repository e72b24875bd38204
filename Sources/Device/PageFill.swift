import Glibc
import Posix
import Synchronization

/// Fills a device's page cache: reads ranges of the disk as any program does that opens it buffered.
///
/// A thread for each queue, each with every so many-th range, so that all are equally far.
public final class PageFill: Sendable {
  private struct State {
    var running = 0
    var bytes: UInt64 = 0
    var failedBytes: UInt64 = 0
    var lastError: Errno?
    var isStopped = false
  }

  private static let stepBytes = 512 << 10

  private let path: String
  private let ranges: [Range<UInt64>]
  private let state = Mutex(State())
  /// Bytes of the disk that are wanted.
  public let wantedBytes: UInt64

  /// Of the device at `path`.
  public init(_ ranges: [Range<UInt64>], path: String) {
    self.ranges = ranges
    self.path = path
    wantedBytes = ranges.reduce(0) { $0 + UInt64($1.count) }
  }

  /// Starts `threads` threads, which end by themselves and keep this object as long.
  public func start(threads: Int) throws(Errno) {
    let count = max(1, min(threads, ranges.count))
    state.withLock { $0.running = count }
    for number in 0..<count {
      do throws(Errno) {
        let thread = try Posix.Thread(name: "fill-\(number)") { [self] in
          fill(number, of: count)
          state.withLock { $0.running -= 1 }
        }
        thread.detach()
      } catch {
        state.withLock { $0.running -= count - number }
        throw error
      }
    }
  }

  /// Reads no more.
  public func stop() { state.withLock { $0.isStopped = true } }

  /// Bytes that were read, bytes that could not be, whether it has ended, and the last error.
  public var progress: (bytes: UInt64, failed: UInt64, isOver: Bool, lastError: Errno?) {
    state.withLock { ($0.bytes, $0.failedBytes, $0.running == 0, $0.lastError) }
  }

  private func fill(_ number: Int, of count: Int) {
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.stepBytes, alignment: 4096)
    defer { buffer.deallocate() }
    let device: Descriptor
    do throws(Errno) { device = try Descriptor.open(path) } catch {
      return state.withLock { $0.lastError = error }
    }
    // Only what is named: reading ahead would fetch what nobody wants.
    _ = posix_fadvise(device.rawValue, 0, 0, POSIX_FADV_RANDOM)
    for index in stride(from: number, to: ranges.count, by: count) {
      var start = ranges[index].lowerBound
      while start < ranges[index].upperBound {
        if state.withLock({ $0.isStopped }) { return }
        let length = min(Self.stepBytes, Int(ranges[index].upperBound - start))
        let part = UnsafeMutableRawBufferPointer(rebasing: buffer[..<length])
        do throws(Errno) {
          _ = try device.readFully(into: part, at: start)
          state.withLock { $0.bytes += UInt64(length) }
        } catch {
          state.withLock { state in
            state.failedBytes += UInt64(length)
            state.lastError = error
          }
        }
        start += UInt64(length)
      }
    }
  }
}
