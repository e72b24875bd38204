import Posix

/// What the disks of the tests have in common: operations are counted, and at one of them something goes wrong.
open class FaultyDisk {
  /// What goes wrong.
  public enum Fault: Sendable {
    /// The operation fails, and others go on.
    case error(Errno)
    /// The process ends here: nothing works any more.
    case stop
  }

  /// Operations so far.
  public private(set) var operations = 0
  /// What happens at which operation.
  public var fault: (at: Int, kind: Fault)?
  /// Whether the process has ended.
  public private(set) var isStopped = false
  /// The operation that the fault hit.
  public private(set) var faultyOperation = "none"
  /// Where the disk's own choices come from.
  public var random: SplitMix

  /// A disk without faults.
  public init(random: SplitMix) { self.random = random }

  /// Another process comes.
  open func restart() {
    isStopped = false
    fault = nil
  }

  /// How much of an operation of `count` bytes is done before it fails; nil when it does not fail.
  public final func step(_ count: Int = 0, _ name: StaticString = #function) -> (done: Int, error: Errno)? {
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
