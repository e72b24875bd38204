import Ring
import Testing

extension Trait where Self == ConditionTrait {
  /// Skips where the kernel, or a container around the test, lets no program make a ring.
  static var whereRingsAreAllowed: Self {
    .enabled(
      "io_uring is forbidden here: `sysctl kernel.io_uring_disabled` says by whom", { (try? Ring(entries: 1)) != nil })
  }
}
