import Posix
import TestSupport

/// What the disks of the tests have in common: operations are counted, and at one of them something goes wrong.
class FaultyDisk {
  enum Fault {
    /// The operation fails, and others go on.
    case error(Errno)
    /// The process ends here: nothing works any more.
    case stop
  }

  /// Operations so far.
  private(set) var operations = 0
  /// What happens at which operation.
  var fault: (at: Int, kind: Fault)?
  private(set) var isStopped = false
  /// The operation that the fault hit.
  private(set) var faultyOperation = "none"
  var random: SplitMix

  init(random: SplitMix) { self.random = random }

  /// Another process comes.
  func restart() {
    isStopped = false
    fault = nil
  }

  /// How much of an operation of `count` bytes is done before it fails; nil when it does not fail.
  final func step(_ count: Int = 0, _ name: StaticString = #function) -> (done: Int, error: Errno)? {
    if isStopped { return (0, .ioError) }
    operations += 1
    guard let fault, fault.at == operations else { return nil }
    faultyOperation = "\(name)"
    switch fault.kind {
    case .error(let error): return (Int.random(in: 0...count, using: &random), error)
    case .stop:
      isStopped = true
      return (Int.random(in: 0...count, using: &random), .ioError)
    }
  }
}
