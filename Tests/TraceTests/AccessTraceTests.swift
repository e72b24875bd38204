import Testing

@testable import Trace

@Suite("Traces of Warmblk")
struct AccessTraceTests {
  /// Three runs on two layers: data of each, a piece of metadata, and a range that no layer is known for.
  static let example = AccessTrace(
    imageName: "web", deviceSize: 4_194_304,
    layers: [
      TraceLayer(identity: "sha256:0a1", size: 1 << 20, isCompressed: false),
      TraceLayer(identity: "uuid:0B-1", size: 300_000, isCompressed: true),
    ],
    runs: 3, durationMicroseconds: 81234, recordedAt: 1_795_522_606,
    accesses: [
      TraceAccess(microseconds: 0, device: 4096..<8192, layer: 0, stored: 8192..<12288, runs: 3),
      TraceAccess(microseconds: 1500, device: 0x100000..<0x100800, layer: 1, stored: 4608..<5985),
      TraceAccess(microseconds: 1500, device: 0..<0, layer: 1, stored: 0..<512, runs: 2),
      TraceAccess(microseconds: 70000, device: 0..<512, layer: nil, stored: 0..<0),
    ])

  /// The same as the description of the format has it, written by hand in another language.
  static let golden: [UInt8] = [
    0x57, 0x42, 0x54, 0x52, 0x41, 0x43, 0x45, 0x0A, 0x01, 0x00, 0x00, 0x00, 0x50, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x40, 0x00, 0x00, 0x00, 0x00, 0x00, 0x2E, 0x80, 0x05, 0x6B, 0x00, 0x00, 0x00, 0x00,
    0x52, 0x3D, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x03, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00,
    0x04, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x48, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x1D, 0xE1, 0xB1, 0xB1, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x2E, 0x0C, 0x30, 0xEB,
    // The name, and the layers.
    0x03, 0x77, 0x65, 0x62,
    0x0A, 0x73, 0x68, 0x61, 0x32, 0x35, 0x36, 0x3A, 0x30, 0x61, 0x31, 0x80, 0x80, 0x40, 0x00,
    0x09, 0x75, 0x75, 0x69, 0x64, 0x3A, 0x30, 0x42, 0x2D, 0x31, 0xE0, 0xA7, 0x12, 0x01,
    // The accesses.
    0x07, 0x00, 0x80, 0x40, 0x80, 0x20, 0x80, 0x80, 0x01, 0x03,
    0x09, 0xDC, 0x0B, 0x80, 0x80, 0x7F, 0x80, 0x10, 0x80, 0x48, 0xE1, 0x0A,
    0x0A, 0x00, 0xC1, 0x5D, 0x80, 0x04, 0x02,
    0x01, 0x94, 0x97, 0x04, 0xFF, 0x9F, 0x80, 0x01, 0x80, 0x04,
  ]

  static func parse(_ bytes: [UInt8]) throws(TraceError) -> AccessTrace {
    try AccessTrace(parsing: bytes.span.bytes)
  }

  @Test("the bytes are those of the format's description, both ways")
  func goldenBytes() throws {
    #expect(try Self.example.encoded() == Self.golden)
    #expect(try Self.parse(Self.golden) == Self.example)
    let isClaimed = AccessTrace.isAccessTrace(prefix: Self.golden.span.bytes)
    #expect(isClaimed)
  }

  @Test("a trace without layers and accesses is a trace")
  func empty() throws {
    let trace = AccessTrace(imageName: "", deviceSize: 0, layers: [])
    #expect(try Self.parse(trace.encoded()) == trace)
  }

  @Test("accesses are sorted by time, and those of one time stay in order")
  func order() {
    let times: [UInt64] = [5, 3, 5, 3, 0, 3]
    let trace = AccessTrace(
      imageName: "", deviceSize: 100, layers: [],
      accesses: times.enumerated().map { number, time in
        TraceAccess(microseconds: time, device: UInt64(number)..<UInt64(number + 1), layer: nil, stored: 0..<0)
      })
    #expect(trace.accesses.map(\.device.lowerBound) == [4, 1, 3, 5, 0, 2])
  }

  @Test("what a trace cannot have is not written")
  func invalid() {
    func problem(_ change: (inout AccessTrace) -> Void) -> TraceError? {
      var trace = Self.example
      change(&trace)
      do throws(TraceError) {
        _ = try trace.encoded()
        return nil
      } catch { return error }
    }
    func access(_ device: Range<UInt64>, _ layer: Int?, _ stored: Range<UInt64>, runs: UInt32 = 1) -> TraceError? {
      problem {
        $0.accesses.append(
          TraceAccess(microseconds: 70000, device: device, layer: layer, stored: stored, runs: runs))
      }
    }
    #expect(access(0..<512, 0, 0..<512) == nil)
    let invalid = [
      access(0..<0, nil, 0..<0), access(4_194_300..<4_194_305, nil, 0..<0), access(0..<512, 2, 0..<512),
      access(0..<512, 0, 0..<511), access(0..<512, 0, 0..<0), access(0..<512, 1, 299_900..<300_001),
      access(0..<512, nil, 0..<512), access(0..<512, 0, 0..<512, runs: 0), access(0..<512, 0, 0..<512, runs: 4),
      problem { $0.accesses.swapAt(0, 1) },
    ]
    for error in invalid {
      guard case .invalidAccess? = error else {
        Issue.record("\(String(describing: error))")
        continue
      }
    }
    #expect(problem { $0.imageName = String(repeating: "n", count: 4097) }?.description.contains("4097") == true)
    #expect(problem { $0.runs = 0 } != nil)
    #expect(problem { $0.recordedAt = -1 } != nil)
    #expect(problem { $0.durationMicroseconds = 1 << 63 } != nil)
    let layer = Self.example.layers[0]
    #expect(
      problem { $0.layers = .init(repeating: layer, count: 4097) } == .tooMany("layers", count: 4097, limit: 4096))
  }
}
