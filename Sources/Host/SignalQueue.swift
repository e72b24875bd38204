import CLinux
import Glibc
import Posix

/// SIGTERM and SIGINT as something to poll for, so that no code runs in a signal handler.
struct SignalQueue: ~Copyable {
  private let descriptor: Descriptor
  var rawValue: Int32 { descriptor.rawValue }

  /// Takes the signals out of the usual way, for this thread and all that it starts later. SIGPIPE and SIGHUP are
  /// ignored: neither a reader that went away nor a closed terminal is a reason to take a disk away.
  init() throws(HostError) {
    var mask = Self.mask
    pthread_sigmask(SIG_BLOCK, &mask, nil)
    signal(SIGPIPE, SIG_IGN)
    signal(SIGHUP, SIG_IGN)
    descriptor = try HostError.describing("make a signal descriptor") { () throws(Errno) in
      Descriptor(owning: try retryingInterrupts { clinux_signalfd(&mask) })
    }
  }

  private static var mask: sigset_t {
    var mask = sigset_t()
    sigemptyset(&mask)
    sigaddset(&mask, SIGTERM)
    sigaddset(&mask, SIGINT)
    return mask
  }

  /// The next signal that has arrived, or nil.
  func next() -> Int32? {
    // `struct signalfd_siginfo`: 128 bytes that begin with the number.
    var info = [UInt32](repeating: 0, count: 32)
    guard read(descriptor.rawValue, &info, 128) == 128 else { return nil }
    return Int32(bitPattern: info[0])
  }

  /// Gives the signals their usual meaning back: the next one ends the process at once.
  func release() {
    signal(SIGTERM, SIG_DFL)
    signal(SIGINT, SIG_DFL)
    var mask = Self.mask
    pthread_sigmask(SIG_UNBLOCK, &mask, nil)
  }
}
