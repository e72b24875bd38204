import Glibc
import Posix
import Testing
import TestSupport

extension OnDevice {
  struct SeveralDevicesTests {
    @Test("eight devices at once have each its own bytes, and the list tells them apart")
    func eight() throws {
      let scratch = try Scratch()
      var random = SplitMix(state: 8)
      let codecs = Sample.Codec.allCases
      let contents = (0..<8).map { _ in random.bytes(20_480) }
      let configs = try contents.enumerated().map { number, bytes in
        let raw = try scratch.write("raw\(number)", bytes)
        return try Warmblk.importing(raw, to: scratch("image\(number)"), codecs[number % codecs.count].words)
      }
      let disks = try Warmblk.add(each: configs)
      #expect(Set(disks.map(\.id)) == Set(0..<8))
      for (disk, bytes) in zip(disks, contents) {
        try disk.reading(direct: true) {
          let isEqual = try $0.read(bytes.count, at: 0).elementsEqual(bytes)
          #expect(isEqual, "\(disk.path)")
        }
      }
      let rows = try Warmblk.list()
      #expect(rows.map(\.id) == Array(0..<8))
      let table = try Warmblk.run("list").output.split(separator: "\n")
      #expect(table.count == 9)
      for (disk, config) in zip(disks, configs) {
        let row = try #require(rows.first { $0.id == disk.id })
        #expect(row.device == disk.path && row.image == config && row.state == "live" && row.size == 20_480)
        #expect(row.requests ?? 0 > 0 && row.bytes ?? 0 >= 20_480 && row.errors == 0, "\(row)")
        #expect(row.pid.map { Guest.servers().contains($0) } ?? false)
        let line = table.first { $0.contains("\(disk.path) ") }
        #expect(line?.contains(config) ?? false && line?.contains("live") ?? false, "\(table)")
      }
      let outcome = try Warmblk.run("del", "--all")
      #expect(outcome.succeeded, "\(outcome)")
      #expect(try Warmblk.list().isEmpty)
    }

    @Test("a number can be asked for, and is refused while somebody else has it")
    func numbers() throws {
      let config = try Sample.image(.none)
      let disk = try Warmblk.add(config, "--id", "5", "--queues", "1", "--depth", "16")
      #expect(disk.id == 5)
      let row = try Warmblk.row(disk)
      #expect(row.queues == 1 && row.depth == 16, "\(row)")
      let before = LeavingNothing.leftovers
      let second = try Warmblk.run("add", "--config", config, "--id", "5")
      #expect(second.status == 1 && second.output.isEmpty && second.errors.contains("5"), "\(second)")
      #expect(second.errors.split(separator: "\n").count == 1, "\(second)")
      #expect(LeavingNothing.leftovers == before)
      #expect(try Warmblk.row(disk).state == "live")
      try Warmblk.del(disk)
      let gone = try Warmblk.run("del", "-n", "5")
      #expect(gone.status == 1 && gone.errors.contains("no device 5"), "\(gone)")
    }

    @Test("200 devices that come and go leave nothing in the kernel")
    func comeAndGo() throws {
      let config = try Sample.image(.lz4)
      // The first ones fill caches that stay.
      try cycles(loops: 2, of: 2, config)
      let before = Usage.now()
      try cycles(loops: 2, of: 20, config)
      // Several at a time: starting `del` for each is most of a cycle's time.
      for _ in 0..<10 {
        _ = try Warmblk.add(each: Array(repeating: config, count: 16))
        let outcome = try Warmblk.run("del", "--all")
        #expect(outcome.succeeded, "\(outcome)")
      }
      // The kernel frees some of it later.
      var growth = Usage.now() - before
      _ = Deadline(milliseconds: 5000).wait(interval: 200) {
        growth = Usage.now() - before
        return growth.isNothing
      }
      print("200 devices: \(growth)")
      #expect(growth.isNothing, "\(growth)")
    }

    /// Adds and deletes one device after another, in several loops at once.
    private func cycles(loops: Int, of count: Int, _ config: String) throws {
      let script = """
        set -eu
        for i in $(seq \(count)); do
          device=$("$0" add --config \(config))
          dd if=$device of=/dev/null bs=4k count=1 iflag=direct status=none
          "$0" del -n ${device#/dev/ublkb}
        done
        """
      let programs = try (0..<loops).map { _ in try Program(["bash", "-c", script, Guest.binary]) }
      for program in programs {
        let outcome = try program.wait(seconds: 150)
        #expect(outcome.succeeded && outcome.errors.isEmpty, "\(outcome)")
      }
    }

    /// What the whole machine uses.
    private struct Usage: CustomStringConvertible {
      var files: Int
      var slabKilobytes: Int
      var availableKilobytes: Int

      static func now() -> Usage {
        Usage(
          files: Guest.text("/proc/sys/fs/file-nr").split(separator: "\t").first.flatMap { Int($0) } ?? 0,
          slabKilobytes: Guest.kilobytes("Slab", in: "/proc/meminfo") ?? 0,
          availableKilobytes: Guest.kilobytes("MemAvailable", in: "/proc/meminfo") ?? 0)
      }

      static func - (a: Usage, b: Usage) -> Usage {
        Usage(
          files: a.files - b.files, slabKilobytes: a.slabKilobytes - b.slabKilobytes,
          availableKilobytes: a.availableKilobytes - b.availableKilobytes)
      }

      /// Less than one file, and less than 64 KiB, for each of 200 devices.
      var isNothing: Bool { files < 100 && slabKilobytes < 12_000 && availableKilobytes > -24_000 }
      var description: String {
        "\(files) files, slab \(slabKilobytes) kB, available \(availableKilobytes) kB"
      }
    }
  }
}
