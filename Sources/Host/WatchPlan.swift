/// What the watcher decides: which dead server is followed by a new one, when, and when that is no use any more. Knows
/// neither processes nor files.
struct WatchPlan {
  /// A device as the watcher sees it.
  struct Sighting: Equatable {
    let id: UInt32
    /// Who serves it, or did.
    let server: ProcessIdentity
    let isAlive: Bool
    /// Whether somebody is giving it another server, or taking it away.
    var isBusy = false
  }

  /// What to do.
  enum Action: Equatable {
    /// Start a new server, and say how that went.
    case recover(UInt32)
    /// Say that the device is left alone from now on, after so many deaths.
    case giveUp(UInt32, deaths: Int)
  }

  /// How an attempt went.
  enum Outcome: Equatable {
    /// The device has this server; nil when it is gone.
    case recovered(by: ProcessIdentity?)
    /// It has none.
    case failed
    /// Somebody else is changing the device.
    case busy
  }

  /// Deaths within `period` after which it is no use.
  static let deathsMax = 5
  /// Milliseconds.
  static let period: UInt64 = 60_000
  /// Milliseconds until somebody else should be done.
  static let busyDelay: UInt64 = 50

  private struct Entry {
    var server: ProcessIdentity
    /// When servers died, or could not be started: milliseconds.
    var deaths: [UInt64] = []
    /// When the next server is started; nil while none is wanted.
    var due: UInt64?
    /// When to look whether somebody else is done; nil when nobody is at it.
    var recheck: UInt64?
    var isTrying = false
    var isLost = false
  }

  private var entries: [UInt32: Entry] = [:]

  /// Milliseconds from a death to the next server: none after the first, for that is what it is all about.
  static func delay(deaths: Int) -> UInt64 { deaths < 2 ? 0 : 100 << (2 * UInt64(min(deaths, 8) - 2)) }

  /// Whether an attempt for `id` is under way.
  func isTrying(_ id: UInt32) -> Bool { entries[id]?.isTrying ?? false }

  /// What to do, given all devices that are watched, at `now`, milliseconds of any clock.
  mutating func look(_ sightings: [Sighting], at now: UInt64) -> [Action] {
    let ids = Set(sightings.map(\.id))
    entries = entries.filter { ids.contains($0.key) }
    return sightings.compactMap { look($0, now) }
  }

  private mutating func look(_ sighting: Sighting, _ now: UInt64) -> Action? {
    var entry = entries[sighting.id] ?? Entry(server: sighting.server)
    defer { entries[sighting.id] = entry }
    if entry.server != sighting.server {
      // One that somebody else has started gets all its chances.
      if !entry.isTrying { entry.deaths = [] }
      entry.server = sighting.server
      entry.due = nil
      entry.isLost = false
    }
    entry.recheck = nil
    if sighting.isAlive {
      entry.due = nil
      return nil
    }
    if entry.isTrying || entry.isLost { return nil }
    if sighting.isBusy {
      // An end that somebody has brought about is not a death.
      entry.recheck = now + Self.busyDelay
      return nil
    }
    guard let due = entry.due else {
      if note(&entry, now) { return .giveUp(sighting.id, deaths: entry.deaths.count) }
      return start(&entry, sighting.id, now)
    }
    return due <= now ? start(&entry, sighting.id, now) : nil
  }

  /// Counts a death; true when it was the last one.
  private func note(_ entry: inout Entry, _ now: UInt64) -> Bool {
    entry.deaths = entry.deaths.filter { now - min(now, $0) < Self.period } + [now]
    entry.due = now + Self.delay(deaths: entry.deaths.count)
    entry.isLost = entry.deaths.count >= Self.deathsMax
    return entry.isLost
  }

  private func start(_ entry: inout Entry, _ id: UInt32, _ now: UInt64) -> Action? {
    guard let due = entry.due, due <= now else { return nil }
    entry.isTrying = true
    return .recover(id)
  }

  /// Takes down how the attempt for `id` went; what to do then.
  mutating func ended(_ id: UInt32, _ outcome: Outcome, at now: UInt64) -> Action? {
    guard var entry = entries[id] else { return nil }
    defer { entries[id] = entry }
    entry.isTrying = false
    switch outcome {
    case .recovered(let server):
      if let server { entry.server = server }
      entry.due = nil
      return nil
    case .busy:
      entry.deaths = entry.deaths.dropLast()
      entry.due = nil
      entry.recheck = now + Self.busyDelay
      return nil
    case .failed: return note(&entry, now) ? .giveUp(id, deaths: entry.deaths.count) : nil
    }
  }

  /// Milliseconds from `now` until something is to be done by the clock alone; nil for never.
  func patience(at now: UInt64) -> UInt64? {
    entries.values.filter { !$0.isTrying && !$0.isLost }.compactMap { $0.recheck ?? $0.due }.min().map {
      $0 - min(now, $0)
    }
  }
}
