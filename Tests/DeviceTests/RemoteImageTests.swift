import Glibc
import Posix
import Testing

extension OnDevice {
  struct RemoteImageTests {
    @Test("an image that is only in a registry mounts, every file is right, and the next time nothing is asked for")
    func mounted() throws {
      let registry = try RemoteSample.registry()
      let scratch = try Scratch()
      let (source, raw, mountPoint) = (scratch("source"), scratch("raw"), scratch("mnt"))
      let script = """
        set -eu
        mkdir -p \(source)/a \(mountPoint)
        cp -aL /usr/bin/sha256sum /usr/bin/dd /usr/bin/find \(source)/a
        for i in $(seq 40); do seq $((i * 97)) >\(source)/a/file$i; done
        mke2fs -q -t ext4 -O ^has_journal -d \(source) \(raw) 8M
        """
      try need("bash", "-c", script)
      let image = try Warmblk.importing(raw, to: scratch("image"), ["--compress", "zstd"])
      let layers = try registry.push([scratch("image/overlaybd.commit")])
      try need("rm", "-r", image, scratch("image/overlaybd.commit"))
      let config = try RemoteSample(raw: raw, layers: layers).config(scratch)
      let sums = try need("sh", "-c", "cd \(source) && find . -type f -exec sha256sum {} +")
      func compare() throws {
        let disk = try Warmblk.add(config, "--cache", scratch("cache"))
        try need("mount", "-o", "ro", disk.path, mountPoint)
        try scratch.write("sums", sums)
        let outcome = try run("sh", "-c", "cd \(mountPoint) && sha256sum --quiet -c \(scratch("sums"))")
        #expect(outcome.succeeded, "\(outcome)")
        #expect(sums.split(separator: "\n").count == 43)
        try need("umount", mountPoint)
        try Warmblk.del(disk)
      }
      let (_, requests) = try registry.requests(during: compare)
      #expect(!requests.isEmpty && requests.allSatisfy { $0.status == 206 }, "\(requests)")
      // The registry is away; nobody notices.
      try registry.stop()
      try compare()
    }

    @Test(
      "a disk of four layers in a registry, raw, LZ4 and zstd, is the disk that was imported, with sizes and without")
    func wholeDisk() throws {
      let registry = try RemoteSample.registry()
      let sample = try RemoteSample.stack()
      let content = try sample.content()
      let scratch = try Scratch()
      for sizes in [true, false] {
        let config = try sample.config(scratch, "sizes-\(sizes).json", sizes: sizes)
        let (_, requests) = try registry.requests {
          let disk = try Warmblk.add(config, "--cache", scratch("cache-\(sizes)"))
          try disk.reading(direct: true) { try $0.compare(with: content, "sizes: \(sizes)") }
          #expect(try Warmblk.row(disk).errors == 0)
          try Warmblk.del(disk)
        }
        // Every byte came once. Without a size the end that is asked for may begin within a chunk.
        let bytes = requests.reduce(0) { $0 + $1.bytes }
        let spare = sizes ? 0 : sample.layers.count << 16
        #expect((sample.size...sample.size + spare).contains(bytes), "\(requests)")
        #expect(requests.allSatisfy { $0.method == "GET" && $0.status == 206 }, "\(requests)")
        print("sizes \(sizes): \(requests.count) requests for \(sample.size) bytes")
      }
      // The same without a driver, from the cache that is full now.
      let (_, requests) = try registry.requests {
        let config = try sample.config(scratch)
        let outcome = try Warmblk.run("export", config, scratch("exported"), "--cache", scratch("cache-true"))
        #expect(outcome.succeeded, "\(outcome)")
        let merging = try Warmblk.run(
          "merge", "--config", config, "-o", scratch("flat"), "--compress", "lz4", "--cache", scratch("cache-true"))
        #expect(merging.succeeded, "\(merging)")
      }
      #expect(requests.isEmpty, "\(requests)")
      #expect(try run("cmp", sample.raw, scratch("exported")).succeeded)
      let flat = try Warmblk.add(
        try scratch.write("flat.json", "{\"lowers\": [{\"file\": \"\(scratch("flat"))\"}]}"))
      try flat.reading(direct: true) { try $0.compare(with: content, "merged") }
      try Warmblk.del(flat)
    }

    @Test("a layer that the background download completed is checked, and lands in the layer's folder")
    func download() throws {
      let registry = try RemoteSample.registry()
      let sample = try RemoteSample.stack()
      let scratch = try Scratch()
      let more = #", "download": {"enable": true, "delay": 0, "delayExtra": 1, "maxMBps": 100, "blockSize": 1048576}"#
      let config = try sample.config(scratch, more: more, dirs: true)
      let (_, requests) = try registry.requests {
        let disk = try Warmblk.add(config, "--cache", scratch("cache"))
        let paths = sample.layers.indices.map { scratch("layer\($0)/overlaybd.commit") }
        #expect(Deadline(milliseconds: 20_000).wait(interval: 50) { paths.allSatisfy(fileExists) }, "\(paths)")
        for (path, layer) in zip(paths, sample.layers) {
          #expect(try "sha256:" + need("sha256sum", path).prefix(64) == layer.digest)
          #expect(try listDirectory(String(path.dropLast("/overlaybd.commit".count))) == ["overlaybd.commit"])
        }
        try Warmblk.del(disk)
      }
      #expect(requests.reduce(0) { $0 + $1.bytes } == sample.size, "\(requests)")
      // From now on they are files of this machine.
      try registry.stop()
      let disk = try Warmblk.add(config, "--no-cache")
      let content = try sample.content()
      try disk.reading(direct: true) { try $0.compare(with: content, "downloaded") }
      #expect(try Warmblk.row(disk).remote == nil)
      try Warmblk.del(disk)
    }
  }
}
