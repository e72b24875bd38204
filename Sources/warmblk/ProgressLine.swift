import Glibc
import Host
import Image
import Posix

/// How far a long command is, on one line of standard error that is written over: only when that is a terminal, so
/// that logs and pipes stay clean.
final class ProgressLine {
  private let verb: String
  private let isVisible = isatty(2) == 1
  private let began = monotonicNanoseconds()
  private var next: UInt64 = 0
  private var width = 0

  /// `verb`: what is being done, as in `importing`.
  init(_ verb: String) { self.verb = verb }

  /// Shows a step, ten times a second at most.
  func show(_ progress: Progress) {
    let now = monotonicNanoseconds()
    if !isVisible || now < next { return }
    next = now + 100_000_000
    write(Self.text(verb, progress, nanoseconds: now - began))
  }

  /// Takes the line away: what follows begins where it began.
  func end() {
    if width > 0 { write("") }
    width = 0
  }

  private func write(_ text: String) {
    var line = "\r" + text + String(repeating: " ", count: max(0, width - text.count)) + "\r"
    width = text.count
    line.withUTF8 { _ = Glibc.write(2, $0.baseAddress, $0.count) }
  }

  private static func text(_ verb: String, _ progress: Progress, nanoseconds: UInt64) -> String {
    let rate = progress.done / max(1, nanoseconds / 1_000_000) * 1000
    let share = progress.total.map { total in
      " of \(formatBytes(total)), \(total == 0 ? 100 : min(100, progress.done / max(1, total / 100))) %"
    }
    return "\(verb) \(formatBytes(progress.done))\(share ?? ""), \(formatBytes(rate))/s"
  }
}
