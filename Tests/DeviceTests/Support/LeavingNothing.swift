import Glibc
import Posix
import Testing

/// After each test: no device, no server and no state file is there that was not there before, and the kernel has
/// not complained.
struct LeavingNothing: SuiteTrait, TestTrait, TestScoping {
  var isRecursive: Bool { true }

  func provideScope(
    for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
  ) async throws {
    _ = KernelLog.complaints()
    do { try await function() } catch {
      Self.cleanUp()
      throw error
    }
    // The last process that had a forcibly deleted disk open may still be about to close it.
    let isClean = Deadline(milliseconds: 2000).wait(interval: 20) { Self.all.isEmpty }
    #expect(isClean, "left behind: \(Self.all)")
    let complaints = KernelLog.complaints()
    #expect(complaints.isEmpty, "the kernel's log: \(complaints.joined(separator: "\n"))")
    if !isClean { Self.cleanUp() }
  }

  private static var all: [String] {
    leftovers + Guest.watcherFiles() + Guest.watchers().map { "watcher \($0)" }
  }

  static var leftovers: [String] {
    Guest.nodes() + Guest.stateFiles() + (Guest.servers() + Guest.holders()).map { "process \($0)" }
  }

  /// A failure in one test is not a reason for failures in others.
  private static func cleanUp() {
    if !leftovers.isEmpty { _ = try? Program([Guest.binary, "del", "--all", "--force"]).wait(seconds: 60) }
    // What a killed server has left for the next one, which no test is.
    for name in Guest.stateFiles() where name.hasSuffix(".pending") { unlink("/run/warmblk/\(name)") }
  }
}

extension SuiteTrait where Self == LeavingNothing {
  static var leavingNothing: LeavingNothing { LeavingNothing() }
}
