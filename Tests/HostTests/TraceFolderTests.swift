import Glibc
import Posix
import Testing
import Trace

@testable import Host

struct TraceFolderTests {
  private final class Folder {
    let path = "/tmp/warmblk-folder.\(getpid()).\(UInt32.random(in: 0 ... .max))"
    let folder: TraceFolder

    init() throws {
      try makeDirectories(path)
      folder = try TraceFolder.of("\(path)/any")
    }

    deinit {
      _ = try? listDirectory(path).forEach { unlink("\(path)/\($0)") }
      rmdir(path)
    }

    var names: [String] { get throws { try listDirectory(path).sorted() } }
  }

  @Test("a file is replaced as a whole, keeps its owner and permissions, and leaves nothing beside it")
  func replaces() throws {
    let scratch = try Folder()
    try scratch.folder.replace("t", [1, 2, 3], like: nil)
    #expect(try readFile("\(scratch.path)/t") == [1, 2, 3])
    chmod("\(scratch.path)/t", 0o640)
    chown("\(scratch.path)/t", 12, 34)
    try scratch.folder.replace("t", [], like: scratch.folder.status("t"))
    let status = try #require(scratch.folder.status("t"))
    #expect(status.st_size == 0 && status.st_mode & 0o777 == 0o640 && status.st_uid == 12 && status.st_gid == 34)
    #expect(try scratch.names == ["t"])
  }

  @Test("a file that cannot be replaced stays, and nothing is left beside it")
  func failure() throws {
    let scratch = try Folder()
    try makeDirectories("\(scratch.path)/d/inside")
    #expect(throws: Errno(rawValue: EISDIR)) { () throws in try scratch.folder.replace("d", [1], like: nil) }
    #expect(try scratch.names == ["d"])
    rmdir("\(scratch.path)/d/inside")
    rmdir("\(scratch.path)/d")
  }

  @Test("a lock that is removed ends a recording; the trace's name with .ok says that it is whole")
  func lock() throws {
    let scratch = try Folder()
    try writeFileAtomically("\(scratch.path)/T.ok", [])
    let lock = try LockFile("T", in: scratch.folder)
    #expect(try scratch.names == ["T.lock"], "an .ok from before would be taken for one of this recording")
    #expect(!lock.isGone(scratch.folder))
    unlink("\(scratch.path)/T.lock")
    #expect(Deadline(milliseconds: 3000).wait { lock.isGone(scratch.folder) })
    try lock.end(scratch.folder)
    #expect(try scratch.names == ["T.ok"])
    // A recorder that was killed left its lock.
    let again = try LockFile("T", in: scratch.folder)
    let other = try LockFile("T", in: scratch.folder)
    #expect(!other.isGone(scratch.folder))
    again.abandon(scratch.folder)
    #expect(try scratch.names == [])
  }

  @Test(
    "a plan that no command would have made is refused",
    arguments: [
      RecordingPlan(path: "/"), RecordingPlan(path: "/a/.."),
      RecordingPlan(path: "/a/" + String(repeating: "x", count: 201)),
      RecordingPlan(path: "/a/b\u{0}"), RecordingPlan(path: "/a", bytesMax: 10),
      RecordingPlan(path: "/a", bytesMax: .max),
      RecordingPlan(path: "/a", durationMax: 0), RecordingPlan(path: "/a", idleMax: -1),
    ])
  func plans(_ plan: RecordingPlan) {
    #expect(throws: HostError.self) { () throws in try plan.check() }
  }

  @Test("a time is written as people say it")
  func times() {
    #expect(
      [0, 999, 1000, 12_540, 3_100_000, 2_000_000_000].map { formatTime($0) } == [
        "0 ns", "999 ns", "1.0 us", "12.5 us", "3.1 ms", "2.0 s",
      ])
    #expect(formatTime(nil) == "-")
  }
}
