import Device
import Testing

@testable import Host

@Suite("State files")
struct DeviceStateTests {
  private let state = DeviceState(
    id: 7, phase: .serving, server: ProcessIdentity(pid: 4711, startTime: 123_456), config: "/i/image.json",
    layers: ["/i/a.lsmt", "/i/b.zf"], size: 1 << 30, queues: 2, depth: 128, dataPath: .zeroCopy,
    created: 1_795_476_537)

  private func parse(_ text: String, id: UInt32 = 7) throws(HostError) -> DeviceState {
    try DeviceState.parse(Array(text.utf8), id: id, name: "7.json")
  }

  @Test("are one line of sorted keys")
  func golden() throws {
    #expect(
      String(decoding: try state.encoded(), as: UTF8.self)
        == #"{"config":"/i/image.json","created":1795476537,"dataPath":"zero-copy","depth":128,"id":7,"#
        + #""layers":["/i/a.lsmt","/i/b.zf"],"phase":"serving","queues":2,"#
        + #""server":{"pid":4711,"startTime":123456},"size":1073741824,"version":1}"# + "\n")
  }

  @Test("come back as they were written")
  func roundTrip() throws {
    #expect(try DeviceState.parse(state.encoded(), id: 7, name: "7.json") == state)
  }

  @Test("name the upper of a writable device")
  func upper() throws {
    var writable = state
    writable.upper = DeviceState.Upper(data: "/i/upper.data", index: "/i/upper.index")
    let bytes = try writable.encoded()
    #expect(
      String(decoding: bytes, as: UTF8.self).contains(
        #""upper":{"data":"/i/upper.data","index":"/i/upper.index"},"version":1"#))
    #expect(try DeviceState.parse(bytes, id: 7, name: "7.json") == writable)
  }

  @Test("that are damaged, of another version or of another device are refused with a reason")
  func bad() throws {
    let text = String(decoding: try state.encoded(), as: UTF8.self)
    let cases: [(String, String)] = [
      ("", "is damaged (0 bytes)"),
      (String(text.prefix(60)), "is damaged"),
      ("[]", "is damaged"),
      (text.replacing("\"version\":1", with: "\"version\":2"), "has version 2, this warmblk knows 1"),
      (text.replacing("\"id\":7", with: "\"id\":8"), "speaks of device 8, its name of device 7"),
      (text.replacing("\"pid\":4711", with: "\"pid\":1"), "names process 1"),
      (text.replacing("\"pid\":4711", with: "\"pid\":-5"), "names process -5"),
      (text.replacing("\"pid\":4711", with: "\"pid\":99999999999"), "is damaged"),
      (text.replacing("serving", with: "sleeping"), "is damaged"),
    ]
    for (input, expected) in cases {
      let error = #expect(throws: HostError.self) { try parse(input) }
      #expect(error?.description.contains(expected) ?? false, "\(error?.description ?? "") lacks \(expected)")
    }
  }

  @Test("of a newer version are told from damaged ones even if the rest cannot be read")
  func newer() {
    let error = #expect(throws: HostError.self) { try parse(#"{"version":9,"shape":"unknown"}"#) }
    #expect(error?.description.contains("has version 9") ?? false)
  }

  @Test("say how a device is together with its server and its disk")
  func conditions() throws {
    let running = try #require(
      ProcessStatus(parsing: "4711 (warmblk) S 1" + String(repeating: " 0", count: 17) + " 123456"))
    let paused = try #require(
      ProcessStatus(parsing: "4711 (warmblk) T 1" + String(repeating: " 0", count: 17) + " 123456"))
    var starting = state
    starting.phase = .starting
    #expect(DeviceListing.condition(state, server: running, hasDisk: true).0 == .live)
    #expect(DeviceListing.condition(starting, server: running, hasDisk: false).0 == .starting)
    #expect(DeviceListing.condition(starting, server: running, hasDisk: true).0 == .starting)
    #expect(DeviceListing.condition(state, server: running, hasDisk: false).0 == .stopping)
    #expect(DeviceListing.condition(state, server: paused, hasDisk: true).0 == .paused)
    let (dead, problem) = DeviceListing.condition(state, server: nil, hasDisk: true)
    #expect(dead == .dead)
    #expect(problem?.contains("warmblk del -n 7") ?? false)
  }
}
