import Device
import Glibc
import Posix
import Testing

@testable import Host

@Suite("The run directory")
struct RunDirectoryTests {
  private func state(_ id: UInt32, startTime: UInt64 = 5) -> DeviceState {
    DeviceState(
      id: id, phase: .serving, server: ProcessIdentity(pid: 99, startTime: startTime), config: "/c",
      layers: [], size: 512,
      queues: 1, depth: 1, dataPath: .copy, created: 0)
  }

  private func withDirectory(_ body: (RunDirectory) throws -> Void) throws {
    var template = Array("/tmp/warmblk-test-run-XXXXXX".utf8CString)
    try #require(mkdtemp(&template) != nil)
    let path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    defer {
      for name in (try? listDirectory(path)) ?? [] { unlink("\(path)/\(name)") }
      rmdir(path)
    }
    try body(RunDirectory(path: path))
  }

  @Test("tells of a recording as long as the server lives that records")
  func recording() throws {
    try withDirectory { directory in
      let page = try CounterPage(path: directory.countersPath(3), queues: 1)
      page.setRecording(RecordingCounts(since: 1, accesses: 2, bytes: 3, lost: 4))
      for (server, isAlive) in [(try ProcessIdentity.current(), true), (ProcessIdentity(pid: 99, startTime: 5), false)]
      {
        var state = state(3)
        state.server = server
        try directory.write(state)
        #expect((try DeviceStatistics.read(3, directory).recording != nil) == isAlive)
      }
    }
  }

  @Test("is empty when it is not there")
  func absent() throws {
    let directory = RunDirectory(path: "/nonexistent/warmblk")
    #expect(try directory.ids().isEmpty)
    #expect(try directory.state(0) == nil)
  }

  @Test("has devices in the order of their numbers, and ignores other files")
  func ids() throws {
    try withDirectory { directory in
      for id: UInt32 in [10, 2, 0] { try directory.write(state(id)) }
      for name in ["x.json", "-1.json", "3.json.99.tmp", "4.log"] {
        try writeFileAtomically("\(directory.path)/\(name)", [])
      }
      #expect(try directory.ids() == [0, 2, 10])
      #expect(try directory.state(2) == state(2))
      try directory.write(state(5, startTime: 77))
      #expect(directory.state(of: ProcessIdentity(pid: 99, startTime: 77))?.id == 5)
      #expect(directory.state(of: ProcessIdentity(pid: 98, startTime: 77)) == nil)
    }
  }

  @Test("forgets a device for its own server only")
  func remove() throws {
    try withDirectory { directory in
      try directory.write(state(1, startTime: 8))
      try writeFileAtomically(directory.logPath(1), [65])
      try directory.remove(1, server: ProcessIdentity(pid: 99, startTime: 5))
      #expect(try directory.state(1) != nil, "the number belongs to a new device by now")
      try directory.remove(1, server: ProcessIdentity(pid: 99, startTime: 8))
      #expect(try directory.state(1) == nil)
      #expect(try listDirectory(directory.path).isEmpty)
    }
  }

  @Test("names a damaged file when it is asked for its device, and lists the device as unknown")
  func damaged() throws {
    try withDirectory { directory in
      try writeFileAtomically(directory.statePath(4), Array("{".utf8))
      let error = #expect(throws: HostError.self) { try directory.state(4) }
      #expect(error?.description.hasPrefix(directory.statePath(4)) ?? false)
      let listing = try DeviceListing.all(directory, foreign: false)
      #expect(listing.map(\.state) == [.unknown])
      #expect(listing.first?.problem != nil)
    }
  }

  @Test("waits for whoever changes it, and says so when that takes too long")
  func locked() throws {
    try withDirectory { directory in
      var directory = directory
      directory.patience = 20
      let other = try Descriptor.open(directory.path, O_RDONLY | O_DIRECTORY)
      #expect(flock(other.rawValue, LOCK_EX) == 0)
      let error = #expect(throws: HostError.self) { try directory.write(state(1)) }
      #expect(error?.description.contains("has been locked by another warmblk") ?? false)
    }
  }
}
