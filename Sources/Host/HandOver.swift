import CLinux
import Glibc
import Posix

/// What the control thread tells the main thread: a new server wants the device.
final class HandOver: Sendable {
  private let wake: Descriptor

  init() throws(HostError) {
    wake = try HostError.describing("make an event descriptor") { () throws(Errno) in
      Descriptor(owning: try retryingInterrupts { clinux_eventfd() })
    }
  }

  /// Readable once it was asked for.
  var descriptor: Int32 { wake.rawValue }

  func ask() {
    var one: UInt64 = 1
    _ = write(wake.rawValue, &one, 8)
  }
}
