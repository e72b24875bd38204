import Glibc
import Posix
import Testing

extension OnDevice {
  @Suite("Bytes and prefetch")
  struct WarmVerifyTests {
    @Test("fio's check of every block finds what was damaged and what is at the wrong place")
    func checks() throws {
      let scratch = try Scratch(.tmpfs)
      try CheckedDisk.write(scratch("raw"))
      for order in ["randread", "read"] {
        #expect(try CheckedDisk.check(scratch("raw"), order, direct: false).succeeded)
      }
      for damage in ["printf x | dd bs=1 seek=5120777", "dd if=\(scratch("raw")) bs=4k skip=7 seek=900 count=1"] {
        try need("sh", "-c", "cp \(scratch("raw")) \(scratch("bad")) && \(damage) of=\(scratch("bad")) conv=notrunc")
        for order in ["randread", "read"] {
          let outcome = try CheckedDisk.check(scratch("bad"), order, direct: false)
          #expect(!outcome.succeeded && !outcome.wasLate, "\(outcome)")
        }
      }
    }

    @Test("every block of a cold disk is right while it is prefetched, after that, and without")
    func verified() throws {
      _ = try RemoteSample.registry()
      let scratch = try Scratch(.tmpfs)
      try CheckedDisk.write(scratch("raw"))
      let digest = try need("sha256sum", scratch("raw")).prefix(64)
      let config = try RemoteSample.push(scratch("raw"), in: scratch).config(scratch)
      let trace = try scratch.write("reads", StartReads(of: CheckedDisk.size, count: 800).text)
      for (mode, words) in [
        ("off", []), ("background", ["--trace", trace, "--prefetch-rate", "256K"]), ("wait", ["--trace", trace]),
      ] {
        for order in ["randread", "read"] {
          let cache = ["--cache", scratch("cache.\(mode).\(order)")]
          let outcome = try Warmblk.start(["add", "--config", config, "--warm=\(mode)"] + cache + words).wait(
            seconds: 60)
          try #require(outcome.succeeded, "\(outcome)")
          let disk = Disk(id: 0)
          if mode == "background" { #expect(try Warmblk.warmth(disk) { $0.fetchedBytes > 0 }.state == "warming") }
          let checked = try CheckedDisk.check(disk.path, order)
          #expect(checked.succeeded, "\(mode): \(checked)")
          #expect(try need("sha256sum", disk.path).prefix(64) == digest, "\(mode), \(order)")
          let row = try Warmblk.row(disk)
          #expect(row.errors == 0 && row.problem == nil && (row.warm == nil) == (mode == "off"), "\(row)")
          if mode != "off" {
            let warm = try Warmblk.warmth(disk, seconds: 30) { $0.state == "warm" }
            #expect(warm.failedBytes == 0 && warm.trouble == nil, "\(warm)")
          }
          try Warmblk.del(disk)
        }
      }
    }
  }
}
