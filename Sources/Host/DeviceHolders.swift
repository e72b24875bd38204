import Device
import Glibc
import Posix

/// Who uses a disk, as far as this machine shows it to the caller: root sees everything but other machines' users.
struct DeviceHolders {
  private let disk: BlockDevice
  private let names: Set<String>
  private let numbers: Set<DeviceNumber>

  init(_ disk: BlockDevice) {
    self.disk = disk
    let all = disk.numbers
    names = Set(all.map { "/dev/\($0.name)" })
    numbers = Set(all.map(\.number))
  }

  /// Users that stay until somebody ends them: mounts, swap, devices on top. A sentence each. `ignoring` are
  /// processes whose mount tables do not count: servers', which hold copies of what is mounted elsewhere.
  func permanent(ignoring servers: Set<Int32>) -> [String] {
    swaps() + disk.holders.map { "it is part of /dev/\($0)" } + loops() + mounts(ignoring: servers)
  }

  /// Processes that have the disk or a partition of it open, but for the caller, and those that hold it for its server: they
  /// let go when it goes.
  func processes() -> [String] {
    var found: [String] = []
    for pid in Self.processIDs() where pid != getpid() && !Self.isHolder(pid) {
      let descriptors = (try? listDirectory("/proc/\(pid)/fd")) ?? []
      if descriptors.contains(where: { isOurs("/proc/\(pid)/fd/\($0)") }) {
        found.append("\(Self.name(pid)) (pid \(pid)) has it open")
      }
    }
    return found
  }

  // MARK: Mounts

  private func mounts(ignoring servers: Set<Int32>) -> [String] {
    var seen: Set<String> = []
    var found: [String] = []
    // Our own mount table first: its paths are the ones that the user knows.
    for pid in [getpid()] + Self.processIDs() where !servers.contains(pid) {
      guard let table = Self.link("/proc/\(pid)/ns/mnt"), seen.insert(table).inserted else { continue }
      for entry in MountEntry.read(String(pid)) ?? [] where uses(entry) {
        let place = pid == getpid() ? "" : " in the mount namespace of \(Self.name(pid)) (pid \(pid))"
        found.append("\(entry.source) is mounted at \(entry.mountPoint) (\(entry.type))\(place)")
      }
    }
    return found
  }

  /// btrfs and others show a number of their own, so the source counts too.
  func uses(_ entry: MountEntry) -> Bool {
    numbers.contains(DeviceNumber(major: entry.major, minor: entry.minor)) || names.contains(entry.source)
  }

  // MARK: Swap and loop devices

  private func swaps() -> [String] {
    let text = (try? readFile("/proc/swaps")).map { String(decoding: $0, as: UTF8.self) } ?? ""
    return text.split(separator: "\n").dropFirst().compactMap { line in
      line.split(separator: " ").first.flatMap {
        names.contains(String($0)) ? "\($0) is swap; `swapoff \($0)`" : nil
      }
    }
  }

  private func loops() -> [String] {
    ((try? listDirectory("/sys/block")) ?? []).filter { $0.hasPrefix("loop") }.compactMap { loop in
      guard let bytes = try? readFile("/sys/block/\(loop)/loop/backing_file", limit: 4096) else { return nil }
      let file = String(String(decoding: bytes, as: UTF8.self).prefix { !$0.isNewline })
      return names.contains(file) ? "/dev/\(loop) uses \(file); `losetup -d /dev/\(loop)`" : nil
    }
  }

  // MARK: Processes

  /// Whether a link of `/proc/PID/fd` leads to the disk. Only links that look like devices are followed: asking for
  /// the status of a file on a network file system may take for ever.
  private func isOurs(_ path: String) -> Bool {
    guard let target = Self.link(path), target.hasPrefix("/dev/") || target.contains("ublkb") else {
      return false
    }
    var status = stat()
    guard stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFBLK else { return false }
    return numbers.contains(DeviceNumber(UInt64(status.st_rdev)))
  }

  private static func processIDs() -> [Int32] {
    ((try? listDirectory("/proc")) ?? []).compactMap { Int32($0) }.sorted()
  }

  /// Whether it is a ``DiskHolder``.
  private static func isHolder(_ pid: Int32) -> Bool {
    let words = ((try? readFile("/proc/\(pid)/cmdline", limit: 4096)) ?? []).split(separator: 0)
    return words.count == 3 && words[1].elementsEqual(DiskHolder.command.utf8)
  }

  static func name(_ pid: Int32) -> String { ProcessStatus.read(pid)?.name ?? "a process" }

  private static func link(_ path: String) -> String? {
    var buffer = [UInt8](repeating: 0, count: 4096)
    let count = buffer.withUnsafeMutableBytes {
      readlink(path, $0.baseAddress!.assumingMemoryBound(to: CChar.self), $0.count)
    }
    return count > 0 ? String(decoding: buffer[..<count], as: UTF8.self) : nil
  }
}
