import Glibc
import Posix
import Testing

extension OnDevice {
  /// What is between a device and the registry.
  struct RemoteWayTests {
    @Test(
      "signed URLs are asked for anew: before their end where they show it, and when they are refused where they do not"
    )
    func signedURLs() throws {
      let sample = try RemoteSample.plain()
      let content = try sample.content()
      let scratch = try Scratch(.tmpfs)
      let blobs = try SignedBlobs(of: RemoteSample.registry(), seconds: 3, in: scratch)
      let disks = try SignedBlobs.Kind.allCases.map { kind in
        let config = try sample.config(scratch, "\(kind).json", url: blobs.repoBlobURL(kind))
        return (kind, try Warmblk.add(config, "--cache", scratch("cache-\(kind)")))
      }
      for (kind, disk) in disks {
        let isRight = try disk.reading(direct: true) { try $0.matches(content, 65536, at: 0) }
        #expect(isRight, "\(kind)")
      }
      usleep(4_000_000)
      for (kind, disk) in disks {
        let before = blobs.signed(kind)
        try disk.reading(direct: true) { try $0.compare(with: content, "\(kind)") }
        #expect(blobs.signed(kind) > before, "\(kind): all had been read before the end")
        #expect(try Warmblk.row(disk).errors == 0, "\(kind)")
        try Warmblk.del(disk)
        let requests = blobs.requests(kind)
        let refusals = requests.filter { $0.status == 403 }.count
        #expect((refusals > 0) == (kind == .opaque), "\(kind): \(requests)")
        #expect(requests.allSatisfy { [206, 403].contains($0.status) }, "\(kind): \(requests)")
        let bytes = requests.filter { $0.status == 206 }.reduce(0) { $0 + $1.bytes }
        #expect(bytes == sample.size, "\(kind): \(requests)")
        print("\(kind): \(blobs.signed(kind)) URLs, \(requests.count) requests, \(refusals) refused")
      }
    }

    @Test("bytes come through a peer, and from the registry when it is killed while a device is read")
    func peer() throws {
      let registry = try RemoteSample.registry()
      let sample = try RemoteSample.large()
      let content = try sample.content()
      let scratch = try Scratch(.tmpfs)
      // A slash in a row would be taken for one in `$uri`.
      let peer = try WebServer(
        port: 9731, in: scratch,
        """
        location /accelerator/ {
          if ($request_uri ~ "^/accelerator/(http://.*)$") { set $target $1; }
          proxy_pass $target; proxy_buffering off;
        }
        """)
      let service = try scratch.write(
        "service.json", #"{"p2pConfig": {"enable": true, "address": "http://127.0.0.1:\#(peer.port)/accelerator"}}"#)
      func through() -> Int { peer.requests.filter { $0.status == 206 }.reduce(0) { $0 + $1.bytes } }

      let config = try sample.config(scratch)
      let (disk, requests) = try registry.requests {
        let disk = try Warmblk.add(config, "--service-config", service, "--cache", scratch("cache"))
        try disk.reading(direct: true) { reader in
          for offset in stride(from: 0, to: 8 << 20, by: DiskReader.step) {
            let isRight = try reader.matches(content, DiskReader.step, at: UInt64(offset))
            #expect(isRight, "at \(offset)")
          }
        }
        return disk
      }
      // Past the peer the registry is asked for the first byte, to know where the blob is.
      #expect(requests.filter { $0.bytes > 1 }.reduce(0) { $0 + $1.bytes } == through(), "\(requests)")
      #expect(through() >= 8 << 20)

      let end = 32 << 20
      let reader = try Program(["cmp", "-n", "\(end)", sample.raw, disk.path])
      let before = disk.reads
      try #require(Deadline(milliseconds: 20_000).wait(interval: 5) { disk.reads > before + 80 })
      peer.stop()
      let outcome = try reader.wait(seconds: 60)
      #expect(outcome.succeeded, "\(outcome)")
      #expect(try Warmblk.row(disk).errors == 0)
      #expect(through() < end, "all had been read when the peer was killed")
      print("\(through()) of \(end) bytes through the peer")
      try Warmblk.del(disk)
    }
  }
}
