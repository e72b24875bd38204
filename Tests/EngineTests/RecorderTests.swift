import Posix
import Synchronization
import Testing
import Ublk

@testable import Device

@Suite("A recorder")
struct RecorderTests {
  /// What a recording must have: for each read in turn the blocks that none before it touched, in runs.
  private struct Model {
    private(set) var runs: [Range<UInt64>] = []
    private var seen: Set<UInt64> = []

    mutating func read(_ startSector: UInt64, _ sectors: UInt64, deviceBytes: UInt64) {
      var isOpen = false
      for block in startSector / 8...(startSector + sectors - 1) / 8 {
        guard seen.insert(block).inserted else {
          isOpen = false
          continue
        }
        let end = min((block + 1) * 4096, deviceBytes)
        if isOpen { runs[runs.count - 1] = runs.last!.lowerBound..<end } else { runs.append(block * 4096..<end) }
        isOpen = true
      }
    }
  }

  @Test("has what a queue was asked for, in the order of first touch, whatever became of the requests")
  func exact() throws {
    var whole = 0
    for seed in TestRun.seeds(60) {
      let run = try TestRun(
        seed, faults: .init(error: 30, shortRead: 9, interruption: 9), areRemote: seed % 2 == 0, isRecorded: true)
      #expect(run.ended && run.transport.arrivals.count == 60, "seed \(seed)")
      var model = Model()
      for request in run.transport.arrivals {
        model.read(request.startSector, UInt64(request.sectors), deviceBytes: UInt64(run.stack.sectors) * 512)
      }
      #expect(run.touches.map(\.device) == model.runs, "seed \(seed)")
      #expect(zip(run.touches, run.touches.dropFirst()).allSatisfy { $0.nanoseconds <= $1.nanoseconds }, "seed \(seed)")
      #expect(run.lostTouches == 0)
      whole += model.runs.count
    }
    #expect(whole > 600)
  }

  @Test("that is off has nothing, and one that was refused a request has nothing of it")
  func off() throws {
    #expect(try TestRun(1).touches.isEmpty)
    let outside = [
      Request(operationNumber: 0, sectors: 8, startSector: 4090),
      Request(operationNumber: 0, sectors: 0, startSector: 0),
      Request(operationNumber: 0, sectors: 8, startSector: .max),
      Request(operationNumber: 1, sectors: 8, startSector: 0),
    ]
    let run = try TestRun(2, requests: 0, extra: outside, isRecorded: true)
    #expect(run.transport.arrivals.count == 4 && run.touches.isEmpty)
  }

  @Test("goes on exactly after its ring was full, and counts each read that it could not write down")
  func full() throws {
    for seed in TestRun.seeds(5) {
      var random = SeededRandom(seed)
      let sectors = UInt64(1) << 26
      let recorder = Recorder(queues: 1, deviceBytes: sectors * 512 - 1000)
      try recorder.start()
      #expect(throws: Errno.busy) { try recorder.start() }
      var found: [FirstTouch] = []
      var model = Model()
      var lost: UInt64 = 0
      for _ in 0..<60_000 {
        let count = UInt64.random(in: 1...(random.chance(9) ? 1024 : 40), using: &random)
        let start = UInt64.random(in: 0...sectors - 2 - count, using: &random)
        recorder.slot(0).pointee.note(startSector: start, sectors: count)
        let isLost = recorder.lostCount > lost
        lost = recorder.lostCount
        if !isLost { model.read(start, count, deviceBytes: sectors * 512 - 1000) }
        if isLost || random.chance(30_000) {
          // What was lost can be recorded by the next read of it.
          recorder.drain { found.append($0) }
          if isLost {
            #expect(found.count >= TouchTap.capacity - 40)
            recorder.slot(0).pointee.note(startSector: start, sectors: count)
            model.read(start, count, deviceBytes: sectors * 512 - 1000)
          }
        }
      }
      #expect(lost > 0, "seed \(seed): the ring was never full")
      #expect(recorder.stop { found.append($0) } == lost)
      // A read of which the first part still had room is in two parts here, and in one in the model.
      #expect(Self.joined(found.map(\.device)) == Self.joined(model.runs), "seed \(seed)")
      #expect(!recorder.isRecording)
    }
  }

  private static func joined(_ runs: [Range<UInt64>]) -> [Range<UInt64>] {
    runs.reduce(into: []) { result, run in
      if let last = result.last, last.upperBound == run.lowerBound {
        result[result.count - 1] = last.lowerBound..<run.upperBound
      } else {
        result.append(run)
      }
    }
  }

  @Test("has each block once when several queues read the same ones, and begins anew while they read")
  func concurrent() throws {
    let blocks: UInt64 = 20_000
    let queues = 4
    let recorder = Recorder(queues: queues, deviceBytes: blocks * 4096)
    let isOver = Flag()
    let threads = try (0..<queues).map { queue in
      let slot = Slot(pointer: recorder.slot(queue))
      return try Posix.Thread(name: "reader") {
        var random = SeededRandom(UInt64(queue))
        while !isOver.value.load(ordering: .relaxed) {
          let start = UInt64.random(in: 0..<blocks * 8 - 64, using: &random)
          slot.pointer.pointee.note(startSector: start, sectors: UInt64.random(in: 1...64, using: &random))
        }
      }
    }
    for round in 0..<40 {
      try recorder.start()
      var counts = [Int](repeating: 0, count: Int(blocks))
      func count(_ touch: FirstTouch) {
        for block in touch.device.lowerBound / 4096..<touch.device.upperBound / 4096 { counts[Int(block)] += 1 }
      }
      let enough = Deadline(milliseconds: 20)
      while !enough.hasPassed { recorder.drain(count) }
      _ = recorder.stop(count)
      #expect(counts.allSatisfy { $0 <= 1 }, "round \(round): a block came twice")
      #expect(counts.contains(1), "round \(round): nothing came")
    }
    isOver.value.store(true, ordering: .relaxed)
    for thread in threads { #expect(thread.join(Deadline(milliseconds: 5000))) }
  }

  private struct Slot: @unchecked Sendable { let pointer: UnsafeMutablePointer<TouchSlot> }
  private final class Flag: Sendable { let value = Atomic<Bool>(false) }
}
