import Testing

/// What `warmblk` promises of a real `/dev/ublkbN`, through its commands. Needs a machine that may be spoilt: scripts/vm
/// boots one, and there these tests fail rather than skip. They share one set of device numbers, so that one runs
/// at a time, and each leaves the machine as it found it.
@Suite(
  .serialized, .enabled(if: Guest.isHere, Comment(rawValue: Guest.absence)), .leavingNothing,
  .timeLimit(.minutes(10)))
enum OnDevice {}
