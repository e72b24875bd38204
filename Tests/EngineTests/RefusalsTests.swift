import Posix
import Testing

@testable import Device

struct RefusalsTests {
  @Test(
    "a shortage is waited for until its time is over, and counts anew after a success", arguments: [Errno.again, .busy])
  func shortage(_ error: Errno) {
    var refusals = Refusals()
    let began = monotonicNanoseconds()
    for _ in 0..<5 { refusals.add(error, patience: 60_000) }
    #expect(refusals.final == nil)
    #expect(monotonicNanoseconds() - began >= 5_000_000, "it should not spin")
    refusals.end()
    while refusals.final == nil, monotonicNanoseconds() - began < 20_000_000_000 { refusals.add(error, patience: 50) }
    #expect(refusals.final == error)
    refusals.end()
    #expect(refusals.final == error, "a broken ring stays broken")
  }

  @Test("any other error is final", arguments: [Errno.invalidArgument, .ioError, .exists, Errno(rawValue: 9)])
  func others(_ error: Errno) {
    var refusals = Refusals()
    refusals.add(error)
    #expect(refusals.final == error)
  }
}
