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

  @Test("has times of writes and flushes for a writable device whose server takes them, in statistics and metrics")
  func changes() throws {
    try withDirectory { directory in
      let path = directory.countersPath(3)
      _ = try CounterPage(path: path, queues: 1)
      // In the page of histograms that begins at 4096, the third and the fourth: three writes of 6 to 6.5 us, one
      // of more than 34 min, two flushes.
      let file = try Descriptor.open(path, O_RDWR)
      func put(_ count: UInt64, _ kind: Int, _ bucket: Int) throws {
        let offset = 4096 + (kind * 256 + bucket) * 8
        try withUnsafeBytes(of: count) { try file.writeFully($0, at: UInt64(offset)) }
      }
      try put(3, 2, 28)
      try put(1, 2, 255)
      try put(2, 3, 0)
      var state = state(3)
      try directory.write(state)
      var found = try DeviceStatistics.read(3, directory)
      #expect(found.write == nil && found.flush == nil)
      var metrics = try MetricsText.all(directory)
      #expect(metrics.contains("warmblk_local_read_seconds_count{device=\"3\",image=\"/c\"} 0\n"))
      #expect(!metrics.contains("write_seconds") && !metrics.contains("flush_seconds"))

      state.upper = .init(data: "/d", index: "/i")
      try directory.write(state)
      let before = found
      found = try DeviceStatistics.read(3, directory)
      #expect(found.write?.requests == 4 && found.write?.p50 == 6656 && found.write?.max ?? 0 > 2_000_000_000_000)
      #expect(found.flush?.requests == 2 && found.flush?.max == 128 && found.local.requests == 0)
      #expect(found.since(before).write?.requests == 4 && found.since(found).flush?.requests == 0)
      metrics = try MetricsText.all(directory)
      let lines = metrics.split(separator: "\n")
      for line in [
        "# TYPE warmblk_write_seconds histogram",
        "warmblk_write_seconds_bucket{device=\"3\",image=\"/c\",le=\"4.096e-06\"} 0",
        "warmblk_write_seconds_bucket{device=\"3\",image=\"/c\",le=\"8.192e-06\"} 3",
        "warmblk_write_seconds_bucket{device=\"3\",image=\"/c\",le=\"17.179869184\"} 3",
        "warmblk_write_seconds_bucket{device=\"3\",image=\"/c\",le=\"+Inf\"} 4",
        "warmblk_write_seconds_count{device=\"3\",image=\"/c\"} 4",
        "warmblk_flush_seconds_bucket{device=\"3\",image=\"/c\",le=\"4.096e-06\"} 2",
        "warmblk_flush_seconds_sum{device=\"3\",image=\"/c\"} 2.56e-07",
      ] { #expect(lines.count { $0 == line } == 1, "\(line) is not in\n\(metrics)") }
      #expect(lines.count { $0.contains("write_seconds_bucket") } == 24)

      // A server of the version before.
      var old = try readFile(path)
      (old[7], old[21]) = (2, 0x10)
      try writeFileAtomically(path, Array(old[..<8192]))
      found = try DeviceStatistics.read(3, directory)
      #expect(found.write == nil && found.flush == nil && found.flushes == 0)
      #expect(try !MetricsText.all(directory).contains("write_seconds"))
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
