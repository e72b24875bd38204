import Device
import Glibc
import Posix
import TestSupport
import Testing
import Ublk

@testable import Host

@Suite("Recovery")
struct RecoveryTests {
  private let shape = DeviceShape(queues: 2, depth: 64, features: [.userRecovery, .recoveryReissue, .quiesce], mark: 9)

  private func state(_ server: ProcessIdentity = ProcessIdentity(pid: 1 << 22, startTime: 1)) -> DeviceState {
    DeviceState(
      id: 7, phase: .serving, server: server, config: "/i/image.json", layers: [], size: 1 << 20, queues: 2, depth: 64,
      dataPath: .copy, created: 0, features: shape.features, mark: 9)
  }

  private func process(_ state: Character) throws -> ProcessStatus {
    try #require(ProcessStatus(parsing: "11 (warmblk) \(state) 1" + String(repeating: " 0", count: 17) + " 1"))
  }

  @Test("goes on only with the device of the driver that the record describes")
  func shapes() {
    #expect(shape.difference(from: shape) == nil)
    func difference(_ change: (inout DeviceShape) -> Void) -> String {
      var kernel = shape
      change(&kernel)
      return shape.difference(from: kernel) ?? "none"
    }
    #expect(difference { $0.mark = 10 }.contains("somebody else"))
    #expect(difference { $0.queues = 1 }.contains("has 1 queues, its record 2"))
    #expect(difference { $0.depth = 128 }.contains("a depth of 128, its record 64"))
    #expect(difference { $0.features.insert(.zeroCopy) }.contains("SUPPORT_ZERO_COPY"))
    for missing: Features in [.userRecovery, .recoveryReissue] {
      var other = shape
      other.features.remove(missing)
      #expect(other.difference(from: other)?.contains("made without \(missing)") ?? false)
    }
  }

  @Test("is of dead servers, and a hand-over of live ones; neither of one that is stopped, or of no disk")
  func conditions() throws {
    func problem(_ change: (inout DeviceState) -> Void, _ server: ProcessStatus?, living: Bool) -> String {
      var state = state()
      change(&state)
      return RecoveryCheck.problem(state, server: server, takesFromLiving: living) ?? "none"
    }
    let (running, paused) = (try process("S"), try process("T"))
    #expect(problem({ _ in }, nil, living: false) == "none")
    #expect(problem({ _ in }, nil, living: true) == "none")
    #expect(problem({ _ in }, running, living: true) == "none")
    #expect(problem({ _ in }, running, living: false).contains("warmblk upgrade -n 7"))
    #expect(problem({ _ in }, paused, living: false).contains("kill -CONT"))
    #expect(problem({ _ in }, paused, living: true).contains("kill -CONT"))
    #expect(problem({ $0.phase = .starting }, nil, living: false).contains("warmblk del -n 7"))
    #expect(problem({ $0.phase = .starting }, running, living: true).contains("just being made"))
    // The command that waits for a device takes it away.
    #expect(problem({ $0.keeper = .starter }, nil, living: false).contains("before the device was handed over"))
    #expect(problem({ $0.keeper = .starter }, running, living: true).contains("waits for it to be warm"))
    #expect(problem({ $0.features = .userRecovery }, nil, living: false).contains("made without recovery"))
    #expect(problem({ $0.config = "" }, nil, living: false).contains("does not say what it is made of"))
  }

  @Test("refuses by name what is not there, lives, or is being changed, and finds the dead")
  func commands() throws {
    let scratch = try Scratch()
    let directory = RunDirectory(path: scratch.path)
    var notes: [String] = []
    let recovery = Recovery(directory, timeout: 1) { notes.append($0) }
    func failure(_ body: () throws(HostError) -> Void) -> String {
      do throws(HostError) {
        try body()
        return "nothing"
      } catch { return error.description }
    }
    #expect(failure { () throws(HostError) in try recovery.recover(7) }.contains("there is no device 7"))
    #expect(failure { () throws(HostError) in try recovery.upgrade(7) }.contains("there is no device 7"))
    #expect(!fileExists(directory.lockPath(7)), "a lock of nothing is left")
    try directory.write(state(try .current()))
    #expect(
      failure { () throws(HostError) in try recovery.recover(7) }.contains("a server that lives (pid \(getpid()))"))
    #expect(try recovery.dead().isEmpty)
    try directory.write(state())
    #expect(try recovery.dead() == [7])
    let lock = try DeviceLock.take(7, directory, "del")
    #expect(
      failure { () throws(HostError) in try recovery.recover(7) }.contains(
        "is being changed by warmblk del (pid \(getpid()))"))
    lock.release()
    var starting = state()
    starting.phase = .starting
    try directory.write(starting)
    #expect(try recovery.dead().isEmpty)
    #expect(failure { () throws(HostError) in try recovery.recover(7) }.contains("died before its disk was there"))
    var waitedFor = state()
    waitedFor.keeper = .starter
    try directory.write(waitedFor)
    #expect(try recovery.dead().isEmpty)
    #expect(failure { () throws(HostError) in try recovery.recover(7) }.contains("warmblk del -n 7"))
    try writeFileAtomically(directory.statePath(7), Array("{".utf8))
    #expect(try recovery.dead().isEmpty && notes.contains { $0.contains("7.json: is damaged") })
  }

  @Test("of a disk that has grown knows that it has: the same size once more is no mistake")
  func grown() throws {
    let scratch = try Scratch()
    let directory = RunDirectory(path: scratch.path)
    try directory.write(state())
    #expect(try Growing.run(7, to: 1 << 20, remote: nil, directory) == 1 << 20)
    #expect(throws: HostError.self) { try Growing.run(7, to: 1 << 19, remote: nil, directory) }
  }

  @Test("has one at a time: the lock is one's own, says whose, and does not outlive the device's files")
  func lock() throws {
    let scratch = try Scratch()
    let directory = RunDirectory(path: scratch.path)
    #expect(DeviceLock.owner(3, directory) == nil)
    let first = try DeviceLock.take(3, directory, "recover")
    #expect(DeviceLock.owner(3, directory) == "warmblk recover (pid \(getpid()))")
    #expect(try DeviceLock.attempt(directory.lockPath(3), "watch") == nil)
    let began = monotonicNanoseconds()
    #expect(throws: HostError.self) { try DeviceLock.take(3, directory, "del", Deadline(milliseconds: 30)) }
    #expect(monotonicNanoseconds() - began >= 30_000_000)
    // Who took the device away meanwhile removed the file: a lock of it keeps nobody from the next device.
    try directory.remove(3, server: nil)
    let second = try DeviceLock.take(3, directory, "serve")
    first.release()
    #expect(DeviceLock.owner(3, directory) == "warmblk serve (pid \(getpid()))")
    second.release()
    #expect(DeviceLock.owner(3, directory) == nil)
  }

  @Test("goes on counting where the last server was killed, and begins anew where that cannot be")
  func counters() throws {
    let scratch = try Scratch()
    let path = scratch("7.counters")
    do {
      let page = try CounterPage(path: path, queues: 2)
      page.setRecording(RecordingCounts(since: 5, accesses: 6))
    }
    let file = try Descriptor.open(path, O_RDWR)
    try withUnsafeBytes(of: UInt64(41)) { try file.writeFully($0, at: 64) }
    let next = try CounterPage(continuing: path, queues: 2)
    #expect(next.snapshot.map(\.requests) == [41, 0])
    #expect(try CounterPage.read(path).recording == nil)
    for spoil in [[UInt8](), Array("nonsense".utf8)] {
      try writeFileAtomically(path, spoil)
      #expect(try CounterPage(continuing: path, queues: 2).snapshot.map(\.requests) == [0, 0])
    }
    #expect(try CounterPage(continuing: path, queues: 3).snapshot.count == 3)
    unlink(path)
    #expect(try CounterPage(continuing: path, queues: 1).snapshot.count == 1)
  }

  @Test("reads the service's configuration anew, with what was chosen instead")
  func settings() throws {
    let scratch = try Scratch()
    let service = try scratch.write(
      "overlaybd.json", Array(#"{"warmblk": {"ioTimeout": 7, "onTimeout": "wait"}}"#.utf8))
    var choices = RemoteChoices()
    choices.serviceConfig = service
    #expect(try choices.settings().ioTimeout == 7000 && choices.settings().waitsForever)
    try scratch.write("overlaybd.json", Array(#"{"warmblk": {"ioTimeout": 8}}"#.utf8))
    #expect(try choices.settings().ioTimeout == 8000)
    choices.ioTimeout = 500
    choices.waitsForever = true
    choices.cacheFolder = "/c"
    choices.dockerConfig = "/d/config.json"
    var settings = try choices.settings()
    #expect(settings.ioTimeout == 500 && settings.waitsForever && settings.cacheFolder == "/c")
    #expect(settings.registry.credentials.last == .docker(path: "/d/config.json"))
    choices.hasCache = false
    settings = try choices.settings()
    #expect(settings.cacheFolder == nil)
    choices.serviceConfig = scratch("absent.json")
    #expect(throws: HostError.self) { try choices.settings() }
  }
}
