import Glibc
import Posix

/// How long a ring has refused submissions, and whether there is hope left.
///
/// `EAGAIN` says that the kernel is short of memory, `EBUSY` that it has completions which must be taken first: both
/// pass, but nobody promises it. Anything else (`EBADF`, `EINVAL`, `ENXIO`, ...) means that the ring cannot be used.
struct Refusals {
  /// How long a kernel may be short of memory, milliseconds.
  static let patience = 10_000

  private var deadline: Deadline?
  /// Why the ring will not take anything any more; nil while it may.
  private(set) var final: Errno?

  /// The kernel has taken a submission.
  @inline(__always)
  mutating func end() {
    if deadline != nil { deadline = nil }
  }

  /// The kernel has refused a submission with `error`. Sleeps for a moment if it may take the next one.
  @inline(never)
  mutating func add(_ error: Errno, patience: Int = Self.patience) {
    let isPassing = error == .again || error == .busy
    if !isPassing || deadline?.hasPassed == true { return final = error }
    if deadline == nil { deadline = Deadline(milliseconds: patience) }
    usleep(1000)
  }
}
