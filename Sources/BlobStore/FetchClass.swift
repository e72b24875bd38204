/// Why bytes are fetched. A higher class never waits for a lower one.
public enum FetchClass: Int, Comparable, Sendable, CaseIterable {
  /// Whole blobs, because there is time.
  case background = 0
  /// What will probably be read soon.
  case prefetch = 1
  /// Somebody waits.
  case demand = 2

  /// By urgency.
  public static func < (left: FetchClass, right: FetchClass) -> Bool { left.rawValue < right.rawValue }

  /// Fetches of the class that may be under way at once.
  var flightsMax: Int {
    switch self {
    case .background: 1
    case .prefetch: PrefetchPace.flightsMax
    case .demand: 64
    }
  }
}
