import Glibc
import Posix
import Testing
import Trace

extension OnDevice {
  /// Our readers of file systems against the kernel's.
  @Suite("File lists on a device")
  struct WarmFilesTests {
    enum Kind: String, CaseIterable, CustomTestStringConvertible {
      case ext4, ext2, erofs, packed
      var testDescription: String { rawValue }

      /// Makes `raw` of the folder `source`.
      var script: String {
        switch self {
        // Parts of two files by turns, and what is between them taken away again, so that they are in many pieces.
        case .ext4: Self.made("-t ext4 -b 4096")
        case .ext2: Self.made("-t ext2 -b 1024")
        case .erofs: "mkfs.erofs -T0 raw source >/dev/null; truncate -s %4096 raw"
        case .packed: "mkfs.erofs -T0 -zlz4 -C65536 raw source >/dev/null; truncate -s %4096 raw"
        }
      }

      private static func made(_ words: String) -> String {
        """
        mke2fs -q \(words) raw 8M; mkdir mnt; mount -o loop raw mnt; cp -a source/* mnt; rm mnt/pieces
        for part in $(seq 0 11); do
          for file in pieces gaps; do
            dd if=source/pieces of=mnt/$file bs=9000 skip=$part seek=$part count=1 conv=notrunc,fsync status=none
          done
        done
        rm mnt/gaps; umount mnt
        """
      }

      /// The type is named: to find it out mount(8) reads all over the disk, where other file systems have their marks. A
      /// disk that cannot be written takes no journal.
      var mountWords: [String] {
        switch self {
        case .ext4: ["-t", "ext4", "-o", "ro,noload"]
        case .ext2: ["-t", "ext2", "-o", "ro"]
        case .erofs, .packed: ["-t", "erofs", "-o", "ro"]
        }
      }
    }

    /// A disk with a file system, at the registry, and the sums of its files.
    private struct Tree {
      let sample: RemoteSample
      let sums: String
      let scratch: Scratch

      /// What is warmed. `/other` is not, and the link leads to it in no way.
      static let wanted = ["/app/", "/large", "/holes", "/pieces", "/link"]

      init(_ kind: Kind) throws {
        scratch = try Scratch(.tmpfs)
        let script = """
          set -eu; cd \(scratch.path); mkdir -p source/app/deep/er mount
          head -c 900000 /dev/urandom | split -a 3 -b 7000 - source/app/a-file-with-a-longer-name-
          head -c 60000 /dev/urandom >source/app/deep/er/file; seq 60000 >source/large
          truncate -s 1M source/holes
          head -c 9000 /dev/urandom | dd of=source/holes bs=1k seek=700 conv=notrunc status=none
          head -c 8000 /dev/urandom | dd of=source/holes bs=100 seek=1 conv=notrunc status=none
          head -c 108000 /dev/urandom >source/pieces; head -c 200000 /dev/urandom >source/other
          head -c 100000 /dev/urandom >source/target; ln -s target source/link
          \(kind.script)
          cd source; sha256sum large holes pieces link $(find app -type f | sort) >../sums
          """
        try need("bash", "-c", script)
        sums = Guest.text(scratch("sums"))
        sample = try RemoteSample.push(scratch("raw"), in: scratch)
      }

      /// The sums as the kernel reads the files.
      func read() throws -> String {
        try need(
          "bash", "-c", "cd \(scratch("mount")) && sha256sum large holes pieces link $(find app -type f | sort)") + "\n"
      }
    }

    @Test(
      "what was made of names is what the kernel reads of these files, and with --metadata all that it needs to find them",
      arguments: Kind.allCases)
    func files(_ kind: Kind) throws {
      let registry = try RemoteSample.registry()
      let tree = try Tree(kind)
      let scratch = tree.scratch
      let config = try tree.sample.config(scratch)
      for words in [["--metadata"], []] {
        let (trace, cache) = (scratch("trace\(words.count)"), scratch("cache\(words.count)"))
        let made = try Warmblk.start(
          ["trace", "from-files", "--config", config, "--cache", scratch("other"), "-o", trace] + words + Tree.wanted
        ).wait(seconds: 60)
        try #require(made.succeeded && made.errors.split(separator: "\n").count == 1, "\(made)")
        let (disk, _) = try Warmblk.warm(config, "--cache", cache, "--trace", trace, "--warm=wait")
        let mount = ["mount"] + kind.mountWords + [disk.path, scratch("mount")]
        func find() throws {
          try #require(try Program(mount).wait(seconds: 30).succeeded)
          try need("ls", "-lR", scratch("mount"))
        }
        let (_, finding) = try registry.requests { try find() }
        if !words.isEmpty { #expect(finding.isEmpty, "to mount and to list: \(finding)") }
        let (sums, reading) = try registry.requests { try tree.read() }
        #expect(sums == tree.sums)
        #expect(reading.isEmpty, "to read what was named: \(reading)")
        let (_, others) = try registry.requests { try need("cat", scratch("mount/other")) }
        #expect(!others.isEmpty, "what was not named is here too")
        print(
          "\(kind) \(words): \(made.errors.dropLast()); \(finding.count) requests to mount and list, \(reading.count) to read"
        )
        try need("umount", scratch("mount"))
        try Warmblk.del(disk)
      }
    }
  }
}
