import Testing

@testable import Host

@Suite("Mount tables")
struct MountTableTests {
  /// Lines as proc(5) shows them, from a Debian machine and a container.
  private let text = #"""
    22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw,errors=remount-ro
    23 22 0:5 / /dev rw,nosuid shared:2 - devtmpfs udev rw,size=1g
    24 23 0:21 / /dev/pts rw,nosuid - devpts devpts rw,gid=5
    90 22 259:3 / /mnt/a\040b\134c ro,relatime master:1 propagate_from:2 - ext4 /dev/ublkb0 ro
    91 22 0:55 /sub /mnt/btr rw - btrfs /dev/ublkb0p1 rw,subvol=/sub
    92 22 0:56 / /mnt/- rw - tmpfs none rw
    """#

  @Test("are parsed with optional fields, escapes and odd names")
  func parsing() {
    let mounts = MountEntry.parse(text)
    #expect(mounts.count == 6)
    #expect(mounts[3].major == 259)
    #expect(mounts[3].minor == 3)
    #expect(mounts[3].mountPoint == "/mnt/a b\\c")
    #expect(mounts[3].type == "ext4")
    #expect(mounts[3].source == "/dev/ublkb0")
    #expect(mounts.map(\.receivesChanges) == [true, true, false, true, false, false])
    #expect(mounts[5].mountPoint == "/mnt/-")
  }

  @Test("skip what is not a line of theirs")
  func bad() {
    for line in [
      "", "1 2 3", "1 1 x:y / / rw - ext4 a b", "1 1 1 / / rw - ext4 a b",
      "1 1 1:2 / / rw shared:1 ext4 a b c",
      "1 1 1:99999999999 / / rw - ext4 a b", "1 1 1:2 / / rw - ext4",
    ] {
      #expect(MountEntry.parse(line).isEmpty, "\(line)")
    }
    #expect(MountEntry.parse(#"1 1 1:2 / /a\04 rw - ext4 \999 b"#).first?.mountPoint == #"/a\04"#)
  }

  @Test("keep in a server what propagates and what it looks at, and lose the rest, innermost first")
  func dispensable() {
    let mounts = MountEntry.parse(
      """
      1 0 0:1 / / rw - overlay o rw
      2 1 0:2 / /dev rw - devtmpfs d rw
      3 2 0:3 / /dev/shm rw - tmpfs t rw
      4 1 0:4 / /run rw - tmpfs r rw
      5 4 0:5 / /run/warmblk2 rw - tmpfs r rw
      6 1 8:1 / /srv rw - ext4 /dev/sda1 rw
      7 6 259:1 / /srv/mnt ro - ext4 /dev/ublkb3 ro
      8 1 8:2 / /home rw master:7 - ext4 /dev/sda2 rw
      """)
    #expect(
      ServerProcess.dispensable(mounts, needing: ["/dev", "/proc", "/run/warmblk"])
        == ["/srv/mnt", "/srv", "/run/warmblk2", "/dev/shm"])
  }
}
