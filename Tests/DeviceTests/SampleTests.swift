import Glibc
import Posix
import Testing

extension OnDevice {
  struct SampleTests {
    @Test("an imported disk reads as it was, to the last sector", arguments: Sample.Codec.allCases)
    func imported(_ codec: Sample.Codec) throws {
      let content = try Sample.content()
      let disk = try Warmblk.add(try Sample.image(codec))
      try disk.reading(direct: true) { reader in
        try reader.compare(with: content, "O_DIRECT")
        // The last sectors are no whole block of 4096 bytes, one sector alone is none either.
        for (sector, count) in [(Sample.sectors - 1, 1), (Sample.sectors - 3, 3), (7, 1), (4095, 3)] {
          let isEqual = try reader.matches(content, count * 512, at: UInt64(sector) * 512)
          #expect(isEqual, "\(count) at \(sector)")
        }
      }
      try disk.reading(direct: false) { try $0.compare(with: content, "page cache") }
      try Warmblk.del(disk)
    }

    @Test("fio finds its checksums in every block, whatever the size, depth and number of its jobs")
    func fioVerify() throws {
      let scratch = try Scratch()
      let raw = scratch("raw")
      let size = "--size=4M"
      try need(
        "fio", "--name=write", "--filename=\(raw)", size, "--rw=write", "--bs=64k", "--verify=crc32c",
        "--verify_interval=512", "--do_verify=0", "--thread")
      let disks = try Warmblk.add(
        each: try Sample.Codec.allCases.map { try Warmblk.importing(raw, to: scratch($0.rawValue), $0.words) }
      )
      let jobs = disks.map(\.path).flatMap { path in
        [
          "bs=512\nsize=1M\nfilename=\(path)", "bs=4k\niodepth=32\nnumjobs=2\nfilename=\(path)",
          "bsrange=512-512k\niodepth=8\nfilename=\(path)", "bs=512k\niodepth=4\nfilename=\(path)",
        ]
      }
      let header =
        "[global]\nthread\nioengine=io_uring\ndirect=1\nrw=randread\nverify=crc32c\nverify_interval=512\nsize=4M\n"
      let job = try scratch.write(
        "verify.fio", header + jobs.enumerated().map { "[job\($0)]\n\($1)\n" }.joined())
      let outcome = try run("fio", job, seconds: 120)
      #expect(outcome.succeeded, "\(outcome)")
      for row in try Warmblk.list() {
        #expect(row.requests ?? 0 > 2048, "\(row)")
        #expect(row.errors == 0, "\(row)")
      }
      // What fio says must be able to be no: the same jobs on bytes that are not its own.
      try Warmblk.del(disks[1])
      let other = try Warmblk.add(try Sample.image(.lz4), "--id", "\(disks[1].id)")
      #expect(try run("fio", job, "--section=job5", seconds: 120).status != 0)
      try Warmblk.del(other)
      try Warmblk.del(disks[0])
      try Warmblk.del(disks[2])
    }
  }
}
