import CLinux
import Glibc
import Posix
import TestSupport
import Testing
import Trace

@testable import Host

struct ControlTests {
  /// A connection and the other end of it.
  private final class Pair {
    let connection: ControlConnection
    let peer: Descriptor

    init() throws {
      var ends: (Int32, Int32) = (-1, -1)
      let flags = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
      let result = withUnsafeMutableBytes(of: &ends) {
        socketpair(AF_UNIX, flags, 0, $0.assumingMemoryBound(to: Int32.self).baseAddress!)
      }
      try #require(result == 0)
      connection = ControlConnection(Descriptor(owning: ends.0))
      peer = Descriptor(owning: ends.1)
    }
  }

  @Test("requests and replies are what they were after their way, and look as the documentation says")
  func lines() throws {
    let plan = RecordingPlan(path: "/a b/x.trace", form: .overlaybd, durationMax: 5, idleMax: nil, bytesMax: 1 << 20)
    for request in [
      ControlRequest.startRecording(plan: plan), .stopRecording, .grade(path: "/a b/r.json"), .releaseDisk,
      .grow(bytes: .max, hidden: [1, .max]),
    ] {
      let line = try ControlLine.encode(request)
      #expect(line.last == 10 && !line.dropLast().contains(10))
      #expect(try ControlLine.request(Array(line.dropLast())) == request)
    }
    #expect(try ControlLine.encode(ControlRequest.stopRecording) == Array("{\"stopRecording\":{}}\n".utf8))
    #expect(try ControlLine.encode(ControlRequest.releaseDisk) == Array("{\"releaseDisk\":{}}\n".utf8))
    let report = RecordingReport(
      path: "/x", accesses: 3, bytes: 12288, milliseconds: 1250, lost: 1, fileBytes: 300, reason: .idle)
    for reply in [
      ControlReply.done, .failed(message: "a\nb"), .recorded(report: report), .graded(wasted: 1, untraced: 2),
    ] {
      let line = String(decoding: try ControlLine.encode(reply).dropLast(), as: UTF8.self)
      #expect(!line.contains("\n"))
      #expect(try ControlLine.reply(line) == reply)
    }
    #expect(report.line.hasPrefix("/x: 3 accesses, 12 KiB of the disk, 1.2 s, 1 lost; 300 B written"))
  }

  @Test(
    "what is no request is refused with the requests that there are",
    arguments: [
      "", "{", "null", "[]", "{\"reboot\":{}}", "{\"startRecording\":{}}", "\u{0}\u{ff}", "{\"stopRecording\":3}",
    ])
  func unknown(_ text: String) {
    do throws(HostError) {
      Issue.record("it was taken for \(try ControlLine.request(Array(text.utf8)))")
    } catch {
      #expect("\(error)".contains("startRecording, stopRecording, grade, releaseDisk"))
    }
  }

  @Test("a server that ends before it has answered is said to have hung up, whenever that is")
  func hungUp() throws {
    let scratch = try Scratch()
    let directory = RunDirectory(path: scratch.path)
    let server = try ProcessIdentity.current()
    try directory.write(
      DeviceState(
        id: 3, phase: .serving, server: server, config: "/i/image.json", layers: [], size: 1 << 20, queues: 1,
        depth: 64, dataPath: .copy, created: 0))
    let listener = try UnixSocket.listen(at: directory.socketPath(3))
    let raw = listener.rawValue
    let ends = 200
    let thread = try Posix.Thread(name: "hangs up") {
      for number in 0..<ends {
        var entry = pollfd(fd: raw, events: Int16(POLLIN), revents: 0)
        guard poll(&entry, 1, 5000) > 0 else { return }
        let peer = accept(raw, nil, nil)
        usleep(UInt32(number % 4) * 20)
        close(peer)
      }
    }
    for _ in 0..<ends {
      let error = #expect(throws: HostError.self) {
        try ControlClient(id: 3, directory: directory).ask(.stopRecording, Deadline(milliseconds: 5000))
      }
      #expect(error.map { "\($0)".contains("has hung up") && "\($0)".contains("warmblk list") } ?? false)
    }
    #expect(thread.join(Deadline(milliseconds: 10_000)))
  }

  @Test("a request may come byte by byte, with its folder at any of them")
  func pieces() throws {
    let pair = try Pair()
    let scratch = try Descriptor.open("/tmp", O_RDONLY | O_DIRECTORY)
    let line = Array("{\"stopRecording\":{}}\n".utf8)
    for (index, byte) in line.enumerated() {
      var byte = byte
      #expect(clinux_send_with_descriptor(pair.peer.rawValue, &byte, 1, index == 4 ? scratch.rawValue : -1) == 1)
      let received = pair.connection.receive()
      #expect((received != nil) == (index == line.count - 1))
      if let received { #expect(try ControlLine.request(received) == .stopRecording) }
    }
    #expect(try pair.connection.takeFolder() != nil)
    #expect(try pair.connection.takeFolder() == nil)
    #expect(!pair.connection.isOver)
  }

  @Test("a descriptor that is no folder is refused, and what is not taken is closed")
  func descriptors() throws {
    let before = try listDirectory("/proc/self/fd").count
    do {
      let pair = try Pair()
      let file = try Descriptor.open("/dev/null")
      var byte = UInt8(ascii: "x")
      for _ in 0..<3 {
        #expect(clinux_send_with_descriptor(pair.peer.rawValue, &byte, 1, file.rawValue) == 1)
        #expect(pair.connection.receive() == nil)
      }
      #expect(throws: Errno(rawValue: ENOTDIR)) { () throws in _ = try pair.connection.takeFolder() }
      #expect(clinux_send_with_descriptor(pair.peer.rawValue, &byte, 1, file.rawValue) == 1)
      _ = pair.connection.receive()
    }
    // Other tests open files meanwhile: dozens of leaks would show.
    #expect(try listDirectory("/proc/self/fd").count < before + 40)
  }

  @Test("a line without end and a peer that hangs up end the connection; a reply waits for a slow peer")
  func badPeers() throws {
    let endless = try Pair()
    let block = [UInt8](repeating: 65, count: 4096)
    var sent = 0
    while !endless.connection.isOver, sent < 1 << 20 {
      sent += max(0, clinux_send_with_descriptor(endless.peer.rawValue, block, block.count, -1))
      #expect(endless.connection.receive() == nil)
    }
    #expect(endless.connection.isOver && sent <= ControlLine.bytesMax + 2 * block.count)

    let slow = try Pair()
    slow.connection.send([UInt8](repeating: 66, count: 3 << 20))
    #expect(slow.connection.pollEntry.events == Int16(POLLOUT) && !slow.connection.isOver)
    var got = 0
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    while got < 3 << 20 {
      let count = read(slow.peer.rawValue, &buffer, buffer.count)
      if count > 0 { got += count }
      if slow.connection.pollEntry.events == Int16(POLLOUT) { slow.connection.flush() }
    }
    #expect(slow.connection.pollEntry.events == Int16(POLLIN))
  }

  @Test("there is no device to ask, or its server is gone or does not listen: each is said in time")
  func client() throws {
    let directory = RunDirectory(path: "/tmp/warmblk-control.\(getpid())")
    try directory.make()
    defer {
      _ = try? listDirectory(directory.path).forEach { unlink("\(directory.path)/\($0)") }; rmdir(directory.path)
    }
    func failure() -> String {
      do throws(HostError) {
        _ = try ControlClient(id: 7, directory: directory).ask(.stopRecording, Deadline(milliseconds: 300))
        return "nothing"
      } catch { return error.description }
    }
    #expect(failure().contains("there is no device 7"))
    var state = DeviceState(
      id: 7, phase: .serving, server: try .current(), config: "", layers: [], size: 1, queues: 1, depth: 1,
      dataPath: .copy, created: 0)
    try directory.write(state)
    #expect(failure().contains("connect to \(directory.path)/7.sock"))
    let socket = try UnixSocket.listen(at: directory.socketPath(7))
    var status = stat()
    #expect(lstat(directory.socketPath(7), &status) == 0 && status.st_mode & 0o777 == 0o600)
    let began = monotonicNanoseconds()
    #expect(failure().contains("did not answer in time"))
    #expect(monotonicNanoseconds() - began < 3_000_000_000)
    _ = consume socket
    state.server = ProcessIdentity(pid: 1 << 22, startTime: 1)
    try directory.write(state)
    #expect(failure().contains("is gone"))
  }
}
