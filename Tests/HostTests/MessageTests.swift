import CLinux
import Glibc
import Logging
import Posix
import Testing

@testable import Host

@Suite("What is said to others")
struct MessageTests {
  @Test("The resultFile has overlaybd's words and no newline")
  func resultFile() throws {
    #expect(ResultFile.content(failure: nil) == Array("success".utf8))
    #expect(
      ResultFile.content(failure: "failed to open layer 1\nno")
        == Array("failed:failed to open layer 1 no".utf8))
    let path = "/tmp/warmblk-test-result-\(getpid())"
    defer { unlink(path) }
    try ResultFile(path: path).write(failure: "a long reason that was here before")
    try ResultFile(path: path).write(failure: nil)
    #expect(try readFile(path) == Array("success".utf8))
    let error = #expect(throws: HostError.self) { try ResultFile(path: "/nonexistent/r").write(failure: nil) }
    #expect(error?.description.contains("/nonexistent/r") ?? false)
  }

  @Test("A starting server's lines survive the pipe, also texts of several lines")
  func startMessages() {
    for message in [
      StartMessage.warning("a b"), .note("c d"), .ready(3), .ready(1_048_575), .failed("why: x"),
      .progress(done: 0, total: 0),
      .progress(done: 5, total: .max), .filling(done: 7, total: 9), .warmed("warm: 3 ranges, 5 KiB fetched"),
    ] {
      #expect(StartMessage(parsing: String(message.line.dropLast())) == message)
    }
    #expect(StartMessage.failed("one\ntwo").line == "failed one two\n")
    #expect(StartMessage.warmed("one\ntwo").line == "warmed one two\n")
    for line in [
      "", "ready", "ready x", "ready -1", "ready 99999999999", "Fatal error: boo", "progress", "progress 1",
      "progress 1 x", "progress 1 2 3", "progress 1 x 2", "progress -1 2", "progress 1 18446744073709551616",
      "filling 1", "filling 1 x",
    ] {
      #expect(StartMessage(parsing: line) == nil, "\(line)")
    }
  }

  @Test("Metrics have each family once, with a line for each device that knows the number")
  func metrics() {
    let local = DeviceListing(id: 0, device: "/dev/ublkb0", state: .live, size: 4096, image: "/a\"b", requests: 7)
    var remote = DeviceListing(id: 1, device: "/dev/ublkb1", state: .dead, requests: 9)
    remote.remote = RemoteStatus(counts: .init(fetchedBytes: 5), trouble: "down")
    let text = MetricsText.of([local, remote])
    let lines = text.split(separator: "\n").map(String.init)
    #expect(lines.filter { $0 == "# TYPE warmblk_requests_total counter" }.count == 1)
    #expect(lines.contains("warmblk_requests_total{device=\"0\",image=\"/a\\\"b\"} 7"))
    #expect(lines.contains("warmblk_up{device=\"1\",image=\"\"} 0"))
    #expect(lines.contains("warmblk_fetched_bytes_total{device=\"1\",image=\"\"} 5"))
    #expect(lines.contains("warmblk_registry_trouble{device=\"1\",image=\"\"} 1"))
    #expect(!text.contains("warmblk_fetched_bytes_total{device=\"0\""))
    #expect(MetricsText.of([]) == "")
  }

  @Test("Lines come out of a pipe whole, and the deadline ends the wait")
  func lines() throws {
    var pipe = try Pipe()
    let reading = pipe.reading.take()!
    let writing = pipe.writing.take()!.release()
    var lines = LineReader(reading.rawValue)
    let text = Array("one\ntwo\nthr".utf8)
    #expect(write(writing, text, text.count) == text.count)
    #expect(lines.next(Deadline(milliseconds: 1000)) == "one")
    #expect(lines.next(Deadline(milliseconds: 1000)) == "two")
    #expect(lines.next(Deadline(milliseconds: 20)) == nil)
    let rest = Array("ee\n".utf8)
    #expect(write(writing, rest, rest.count) == rest.count)
    #expect(lines.next(Deadline(milliseconds: 1000)) == "three")
    close(writing)
    #expect(lines.next(Deadline(milliseconds: 1000)) == nil)
    #expect(!lines.isCancelled)
  }

  @Test("Waiting for a line ends at once when something else can be read")
  func cancelledLines() throws {
    var pipe = try Pipe()
    var other = try Pipe()
    let reading = pipe.reading.take()!
    let writing = pipe.writing.take()!
    let cancel = other.reading.take()!
    let cancelling = other.writing.take()!
    var lines = LineReader(reading.rawValue, cancelDescriptor: cancel.rawValue)
    #expect(lines.next(Deadline(milliseconds: 20)) == nil && !lines.isCancelled)
    #expect(write(writing.rawValue, "one\n", 4) == 4)
    #expect(lines.next(Deadline(milliseconds: 1000)) == "one")
    #expect(write(cancelling.rawValue, "x", 1) == 1)
    let began = monotonicNanoseconds()
    #expect(lines.next(Deadline(milliseconds: 60_000)) == nil && lines.isCancelled)
    #expect(monotonicNanoseconds() - began < 30_000_000_000)
  }

  @Test("Log lines have a time, or journald's priority, and are one line")
  func logLines() {
    #expect(LineLogHandler.line("a\nb", level: .warning, time: nil) == "<4>a b")
    #expect(LineLogHandler.line("x", level: .debug, time: nil) == "<7>x")
    #expect(LineLogHandler.line("x", level: .error, time: 1_795_476_537) == "2026-11-23T23:28:57Z error: x")
    #expect(LineLogHandler.line("x", level: .info, time: 0) == "1970-01-01T00:00:00Z info: x")
  }

  @Test("Addresses of systemd's socket are paths or abstract names")
  func notifyAddress() {
    #expect(ServiceNotifier.address("/run/n") == Array("/run/n".utf8) + [0])
    #expect(ServiceNotifier.address("@abc") == [0] + Array("abc".utf8))
    for bad in ["", "/", "@", "relative", "vsock:2:1", "/" + String(repeating: "x", count: 107)] {
      #expect(ServiceNotifier.address(bad) == nil, "\(bad)")
    }
  }

  @Test("Messages to systemd are lines of fields, values without newlines")
  func notifyMessage() {
    let message = ServiceNotifier.message([("READY", "1"), ("STATUS", "a\nSTOPPING=1")])
    #expect(String(decoding: message, as: UTF8.self) == "READY=1\nSTATUS=a STOPPING=1")
  }

  @Test("systemd hears that the server is ready, through a path and through an abstract name")
  func notify() throws {
    for name in ["/tmp/warmblk-test-notify-\(getpid())", "@warmblk-test-notify-\(getpid())"] {
      let receiver = Descriptor(owning: socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0))
      var address = sockaddr_un()
      address.sun_family = sa_family_t(AF_UNIX)
      let bytes = try #require(ServiceNotifier.address(name))
      withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
      let bound = withUnsafePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          bind(receiver.rawValue, $0, socklen_t(2 + bytes.count))
        }
      }
      #expect(bound == 0)
      guard let notifier = try ServiceNotifier.connect(environment: name) else {
        Issue.record("no connection to \(name)")
        continue
      }
      notifier.ready(status: "serving")
      var buffer = [UInt8](repeating: 0, count: 256)
      let count = recv(receiver.rawValue, &buffer, buffer.count, Int32(MSG_DONTWAIT))
      #expect(String(decoding: buffer.prefix(max(0, count)), as: UTF8.self) == "READY=1\nSTATUS=serving")
      if name.hasPrefix("/") { unlink(name) }
    }
  }

  @Test("Without a supervisor nobody is told; one that does not exist is an error")
  func noSupervisor() throws {
    let absent = try ServiceNotifier.connect(environment: nil) == nil
    let empty = try ServiceNotifier.connect(environment: "") == nil
    #expect(absent && empty)
    #expect(throws: HostError.self) { _ = try ServiceNotifier.connect(environment: "/nonexistent/socket") }
    #expect(throws: HostError.self) { _ = try ServiceNotifier.connect(environment: "relative") }
  }
}
