import Glibc
import Posix
import Testing

extension OnDevice {
  struct SharedCacheTests {
    @Test(
      "four devices of one image, read by all at once: each byte is fetched once for the node",
      arguments: [Scratch.Place.ext4, .xfs, .btrfs])
    func once(_ place: Scratch.Place) throws {
      let registry = try RemoteSample.registry()
      let sample = try RemoteSample.stack()
      let scratch = try Scratch(place)
      let config = try sample.config(scratch)
      let (_, requests) = try registry.requests {
        let programs = try (0..<4).map { _ in
          try Warmblk.start(["add", "--config", config, "--cache", scratch("cache")])
        }
        let outcomes = try programs.map { try $0.wait(seconds: 60) }
        let isMade = outcomes.allSatisfy { $0.succeeded }
        #expect(isMade, "\(outcomes)")
        let disks = outcomes.map(\.output).map { $0.dropLast() }
        let readers = try disks.map { try Program(["cmp", sample.raw, String($0)]) }
        for reader in readers {
          let outcome = try reader.wait(seconds: 60)
          #expect(outcome.succeeded, "\(outcome)")
        }
        let rows = try Warmblk.list()
        let isWell = rows.allSatisfy { $0.errors == 0 && $0.remote?.counts.bypasses == 0 }
        #expect(rows.count == 4 && isWell, "\(rows)")
        let outcome = try Warmblk.run("del", "--all")
        #expect(outcome.succeeded, "\(outcome)")
      }
      for layer in sample.layers {
        let bytes = requests.filter { $0.path.hasSuffix(layer.digest) }.reduce(0) { $0 + $1.bytes }
        #expect(bytes == layer.size, "\(layer): \(requests)")
      }
    }

    @Test("when a server is killed while it fetches, others that wait for the same bytes get them")
    func killed() throws {
      _ = try RemoteSample.registry()
      let sample = try RemoteSample.large()
      let scratch = try Scratch(.tmpfs)
      let config = try sample.config(scratch)
      let victim = try Warmblk.add(config, "--cache", scratch("cache"), "--no-watch")
      let other = try Warmblk.add(config, "--cache", scratch("cache"))
      let server = try #require(try Warmblk.row(victim).pid)
      let readers = try [victim, other].map { try Program(["cmp", sample.raw, $0.path]) }
      try #require(Deadline(milliseconds: 20_000).wait(interval: 5) { victim.reads > 30 && other.reads > 30 })
      kill(server, SIGKILL)
      let outcome = try readers[1].wait(seconds: 60)
      #expect(outcome.succeeded, "\(outcome)")
      #expect(try Warmblk.row(other).errors == 0)
      try Warmblk.del(other)
      #expect(readers[0].isRunning, "the victim had been read to its end")
      try Warmblk.del(victim, "--force", "--timeout", "40", seconds: 60)
      #expect(try readers[0].wait(seconds: 10).status != 0)
      // What the killed one left is believed only as far as it is right.
      let again = try Warmblk.add(config, "--cache", scratch("cache"))
      #expect(try run("cmp", sample.raw, again.path).succeeded)
      #expect(try Warmblk.row(again).remote?.counts.repairs == 0)
      try Warmblk.del(again)
    }
  }
}
