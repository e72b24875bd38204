import Glibc
import Posix
import TestSupport
import Testing

@testable import Host

@Suite("The watcher where systemd runs")
struct WatcherUnitTests {
  private let scratch = try! Scratch()
  private var directory: RunDirectory { RunDirectory(path: scratch.path) }

  /// With a systemd-run that does what `script` says.
  private func unit(_ script: String?, patience: Int = 5000) throws -> WatcherUnit {
    try makeDirectories(scratch("bin"))
    if let script { try scratch.write("bin/systemd-run", "#!/bin/sh\n\(script)\n", mode: 0o755) }
    return WatcherUnit(marker: scratch("bin"), searchPath: "relative:/nowhere:\(scratch("bin"))", patience: patience)
  }

  /// What is noted, and what was started the old way.
  private func ensure(_ unit: WatcherUnit) throws -> (notes: [String], wasSpawned: Bool) {
    var notes: [String] = []
    let command = ["/bin/sh", "-c", ": >\(scratch("spawned"))"]
    try Watcher.ensure(directory, unit: unit, command) { notes.append($0) }
    let wasSpawned = Deadline(milliseconds: notes.isEmpty && unit.runner != nil ? 100 : 5000).wait(interval: 5) {
      fileExists(scratch("spawned"))
    }
    return (notes, wasSpawned)
  }

  /// A process that has the watcher's lock for a while.
  private var watching: String {
    "python3 -c 'import fcntl, time; f = open(\"\(scratch("watch.lock"))\", \"a\"); fcntl.lockf(f, fcntl.LOCK_EX); time.sleep(20)' "
      + ">/dev/null 2>&1 & echo $! >\(scratch("pid"))"
  }

  private func endWatching() throws {
    let text = String(decoding: try readFile(scratch("pid")), as: UTF8.self)
    kill(try #require(Int32(text.prefix { $0 != "\n" })), SIGKILL)
  }

  @Test("is a unit, which gets the command and leaves servers alone when it ends")
  func started() throws {
    let unit = try unit("for word; do echo \"$word\"; done >\(scratch("words")); \(watching)")
    let (notes, wasSpawned) = try ensure(unit)
    defer { try? endWatching() }
    #expect(notes.isEmpty && !wasSpawned)
    let words = String(decoding: try readFile(scratch("words")), as: UTF8.self).split(separator: "\n").map(String.init)
    #expect(words.suffix(4) == ["--", "/bin/sh", "-c", ": >\(scratch("spawned"))"], "\(words)")
    for word in ["--unit=warmblk-watch", "--collect", "--property=KillMode=process"] {
      #expect(words.contains(word), "\(words)")
    }
    // And now there is one.
    #expect(unlink(scratch("words")) == 0)
    try Watcher.ensure(directory, unit: unit, ["/nowhere"]) { Issue.record("\($0)") }
    #expect(!fileExists(scratch("words")))
  }

  @Test("is started as ever, with a word why, when systemd-run fails, hangs, or starts what does not watch")
  func failing() throws {
    for (script, word, patience) in [
      ("echo no bus >&2; exit 1", "failed: no bus", 5000), ("exit 3", "without a word", 5000),
      ("exec sleep 20", "has not ended", 300), ("exit 0", "journalctl -u warmblk-watch", 300),
    ] {
      let (notes, wasSpawned) = try ensure(try unit(script, patience: patience))
      #expect(notes.count == 1 && notes[0].contains(word) && wasSpawned, "\(script): \(notes)")
      unlink(scratch("spawned"))
    }
  }

  @Test("has the environment that its servers need")
  func environment() {
    let known = ["PATH": "/a:/b", "WARMBLK_RUN": "/r", "OTHER": "x"]
    let words = WatcherUnit.words(for: ["/w", "watch"]) { known[$0] }
    #expect(words.filter { $0.hasPrefix("--setenv") } == ["--setenv=PATH=/a:/b", "--setenv=WARMBLK_RUN=/r"])
    #expect(words.suffix(3) == ["--", "/w", "watch"])
  }

  @Test("of two who start it at once neither complains")
  func atOnce() throws {
    let unit = try unit("\(watching); sleep 0.1; echo Unit warmblk-watch.service was already loaded >&2; exit 1")
    let (notes, wasSpawned) = try ensure(unit)
    defer { try? endWatching() }
    #expect(notes.isEmpty && !wasSpawned)
  }

  @Test("is started as ever where systemd does not run, or has no systemd-run")
  func absent() throws {
    var unit = try unit(nil)
    #expect(unit.runner == nil)
    #expect(try ensure(unit) == (notes: [], wasSpawned: true))
    unlink(scratch("spawned"))
    unit = try self.unit("exit 1")
    #expect(unit.runner == scratch("bin/systemd-run"))
    unit.marker = scratch("absent")
    #expect(try ensure(unit) == (notes: [], wasSpawned: true))
  }
}
