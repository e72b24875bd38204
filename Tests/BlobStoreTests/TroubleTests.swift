import CLinux
import Glibc
import Posix
import Testing
import TestSupport

@testable import BlobStore

/// Caches that cannot be used, or not any more.
@Suite(.serialized) struct TroubleTests {
  @Test("a folder that cannot be a cache is refused with its name and the cause")
  func refused() throws {
    let scratch = try Scratch()
    let file = try scratch.write("file", [])
    for path in ["\(file)/cache", "/proc/warmblk", "/dev/null"] {
      let error = #expect(throws: BlobError.self) { try NodeCache(path: path, limit: 0) }
      #expect("\(try #require(error))".contains(path))
    }
  }

  @Test("a folder that cannot be written to any more is read past", .enabled(if: getuid() == 0, "needs root"))
  func readOnly() throws {
    var random = SplitMix.announced("readOnly")
    let blob = TestBlob(count: 500_000, &random)
    let mount = try TemporaryMount(bytes: 8 << 20)
    let station = try Station(mount.path + "/cache", [blob])
    try run(["mount", "-o", "remount,ro", mount.path])
    let remote = try station.open(blob)
    try station.read(remote, 0..<500_000, of: blob)
    #expect(remote.cached == nil && station.store.counters.snapshot.bypasses == UInt64(blob.chunks))
    #expect(throws: BlobError.self) { try NodeCache(path: mount.path + "/cache", limit: 0) }
    try run(["mount", "-o", "remount,rw", mount.path])
  }

  @Test("a folder that is taken away under a running store costs nothing but speed")
  func takenAway() throws {
    var random = SplitMix.announced("takenAway")
    let blobs = (0..<2).map { _ in TestBlob(count: 500_000, &random) }
    let scratch = try Scratch()
    let station = try Station(scratch("cache"), blobs, limit: 1 << 20)
    let first = try station.open(blobs[0])
    try station.read(first, 0..<100_000, of: blobs[0])
    // In one step: the store may be making something there.
    #expect(rename(scratch("cache"), scratch("gone")) == 0)
    try station.read(first, 0..<500_000, of: blobs[0])
    try station.read(try station.open(blobs[1]), 0..<500_000, of: blobs[1])
    #expect(throws: BlobError.self) { try station.store.cache?.blobs() }
  }

  @Test(
    "on a full disk old chunks go, what has no room is read past, and every byte is right",
    .enabled(if: getuid() == 0, "needs root"), arguments: [2 << 20, 300 << 10, 4096])
  func full(bytes: Int) throws {
    var random = SplitMix.announced("full")
    let blobs = (0..<3).map { _ in TestBlob(count: 3 << 20, &random) }
    let mount = try TemporaryMount(bytes: bytes)
    let station = try Station(mount.path + "/cache", blobs)
    let deadline = Deadline(milliseconds: 3000)
    while !deadline.hasPassed {
      for blob in blobs {
        let remote = try station.open(blob)
        let start = Int.random(in: 0..<blob.bytes.count, using: &random)
        try station.read(remote, start..<min(blob.bytes.count, start + 300_000), of: blob)
      }
    }
    let counts = station.store.counters.snapshot
    #expect(counts.bypasses > 0 && counts.failures == 0 && counts.repairs == 0)
  }

  @Test("a disk that has no room, then has: it is used again", .enabled(if: getuid() == 0, "needs root"))
  func roomAgain() throws {
    var random = SplitMix.announced("roomAgain")
    let blob = TestBlob(count: 3 << 20, &random)
    let mount = try TemporaryMount(bytes: 6 << 20)
    let station = try Station(mount.path + "/cache", [blob])
    let remote = try station.open(blob)
    let filler = try Descriptor.open(mount.path + "/filler", O_RDWR | O_CREAT)
    while posix_fallocate(filler.rawValue, Int(try filler.status().st_size), 65536) == 0 {}
    try station.read(remote, 0..<1 << 20, of: blob)
    #expect(station.store.counters.snapshot.bypasses > 0)
    try filler.truncate(to: 0)
    let before = station.store.counters.snapshot.bypasses
    try station.read(remote, 1 << 20..<3 << 20, of: blob)
    // Chunks that were already in memory may have to be copied there.
    #expect(station.store.counters.snapshot.bypasses <= before + 1)
    #expect(remote.cached?.presentCount ?? 0 >= 31)
  }
}

/// A small file system in memory.
final class TemporaryMount: Sendable {
  private let scratch: Scratch
  var path: String { scratch.path }

  init(bytes: Int) throws {
    scratch = try Scratch()
    try run(["mount", "-t", "tmpfs", "-o", "size=\(bytes)", "tmpfs", scratch.path])
  }

  deinit { _ = try? run(["umount", "-l", scratch.path]) }
}
