import Glibc
import Posix
import Testing

extension OnDevice {
  struct MemoryTests {
    @Test(
      "an idle server needs little memory of its own, and gives back what it needed",
      arguments: Sample.Codec.allCases)
    func memory(_ codec: Sample.Codec) throws {
      let disk = try Warmblk.add(try Sample.image(codec))
      let row = try Warmblk.row(disk)
      let server = try #require(row.pid)
      let file = "/proc/\(server)/smaps_rollup"
      let own = { Guest.kilobytes("Anonymous", in: file) ?? .max }
      let idle = own()
      #expect(idle <= 3 * 1024, "\(Guest.text(file))")
      // Large requests, many at a time.
      let outcome = try run(
        "fio", "--name=read", "--filename=\(disk.path)", "--rw=randread", "--bs=512k", "--ioengine=io_uring",
        "--direct=1", "--iodepth=32", "--thread", "--numjobs=2", "--loops=2", "--size=8M")
      #expect(outcome.succeeded, "\(outcome)")
      let busy = own()
      _ = Deadline(milliseconds: 8000).wait(interval: 100) { own() <= 3 * 1024 }
      let after = own()
      print("memory of a server (\(codec)): \(idle) kB idle, \(busy) kB after reading, \(after) kB later")
      #expect(after <= 3 * 1024, "\(Guest.text(file))")
      try Warmblk.del(disk)
    }
  }
}
