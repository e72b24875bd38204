import Glibc
import Posix
import Testing
import Trace

extension OnDevice {
  @Suite("A trace of ten million accesses")
  struct HugeTraceTests {
    @Test("costs memory as long as it is read only, and the device is there soon and warm")
    func huge() throws {
      _ = try RemoteSample.registry()
      let sample = try RemoteSample.large()
      let content = try sample.content()
      let scratch = try Scratch(.tmpfs)
      let config = try sample.config(scratch)
      // Each block of 4 KiB of 8 MiB, in no order.
      let blocks = 8 << 8
      let text = (0..<blocks).map { "\($0 * 7919 % blocks * 4096) 4096\n" }.joined()
      try need(
        Guest.binary, "trace", "convert", try scratch.write("reads", text), "--config", config, "--cache",
        scratch("other"), "-o", scratch("one"))
      let one = try TraceFile(scratch("one")).trace
      try #require(one.accesses.count == blocks)
      let laps = 10_000_000 / blocks + 1
      let bytes = try TraceBytes(one, laps: laps).bytes
      try scratch.write("trace", bytes)
      var seconds: [Double] = []
      for name in ["one", "trace"] {
        let outcome = try Warmblk.start([
          "add", "--config", config, "--cache", scratch("cache.\(name)"), "--trace", scratch(name), "--warm=background",
        ]).wait(seconds: 60)
        try #require(outcome.succeeded && outcome.errors.isEmpty, "\(outcome)")
        seconds.append(outcome.seconds)
        let disk = Disk(id: 0)
        let isRight = try disk.reading(direct: true) { try $0.matches(content, 65536, at: 70 << 20) }
        #expect(isRight)
        let warm = try Warmblk.warmth(disk, seconds: 30) { $0.state == "warm" }
        #expect((8 << 20..<8 << 20 + 65536).contains(warm.wantedBytes) && warm.failedBytes == 0, "\(warm)")
        let status = "/proc/\(try #require(try Warmblk.row(disk).pid))"
        let peak = try #require(Guest.kilobytes("VmHWM", in: "\(status)/status")) >> 10
        let after = { (Guest.kilobytes("Anonymous", in: "\(status)/smaps_rollup") ?? .max) >> 10 }
        _ = Deadline(milliseconds: 8000).wait(interval: 100) { after() <= 32 }
        print(
          "\(name): \(seconds.last!) s, at most \(peak) MiB, \(after()) MiB of its own afterwards, file \(bytes.count >> 20) MiB"
        )
        // Its file once, and 40 bytes for each access.
        #expect(peak <= 128 + (bytes.count + 40 * blocks * laps) >> 20 && after() <= 32, "\(peak), \(after()) MiB")
        try Warmblk.del(disk)
      }
      #expect(seconds[1] < seconds[0] + 20, "\(seconds)")
    }
  }
}
