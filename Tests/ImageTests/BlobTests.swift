import BlobStore
import Posix
import Testing
import TestSupport

@testable import Image

@Suite struct BlobTests {
  @Test("a file in memory is read plainly, one on a disk through the ring or by workers")
  func readMethod() throws {
    let scratch = try Scratch()
    let onDisk = try Blob(path: try scratch.write("blob", [1, 2, 3]))
    if fileExists("/dev/shm") {
      let path = "/dev/shm/warmblk-test-\(getpidText())"
      try writeFileAtomically(path, [1])
      defer { _ = try? runProgram(["rm", path]) }
      #expect(try Blob(path: path).readMethod == .memory)
    }
    let type = String(decoding: try runProgram(["stat", "-f", "-c", "%T", scratch.path]), as: UTF8.self)
    if type.hasPrefix("ext2/ext3") { #expect(onDisk.readMethod == .ring) }
    if type.hasPrefix("tmpfs") { #expect(onDisk.readMethod == .memory) }
  }

  private func getpidText() -> String {
    String(decoding: (try? runProgram(["sh", "-c", "printf $$"])) ?? [], as: UTF8.self)
  }

  @Test("a read is exact or an error that names the file, the offset and both lengths")
  func exact() throws {
    let scratch = try Scratch()
    let path = try scratch.write("blob", Array(0..<100))
    let blob = try Blob(path: path)
    let buffer = Bytes(count: 10)
    try blob.read(buffer.all, at: 90)
    #expect([UInt8](buffer.all) == Array(90..<100))
    for offset: UInt64 in [91, 100, 1000, .max - 5, .max] {
      let error = #expect(throws: BlobError.self) { try blob.read(buffer.all, at: offset) }
      #expect(error == .outOfBounds(path: path, offset: offset, wanted: 10, payloadEnd: 100))
    }
    try Descriptor.open(path, 1).truncate(to: 95)
    #expect(throws: BlobError.shortRead(path: path, offset: 90, wanted: 10, got: 5)) {
      try blob.read(buffer.all, at: 90)
    }
  }

  @Test("an empty file and a missing one")
  func degenerate() throws {
    let scratch = try Scratch()
    let empty = try Blob(path: try scratch.write("empty", []))
    #expect(empty.payloadSize == 0 && !empty.isTarWrapped)
    #expect(try empty.sha256() == sha256([]))
    #expect(throws: BlobError.system(call: "stat", path: "/nowhere", .noEntry)) { try Blob(path: "/nowhere") }
    #expect(throws: BlobError.notRegularFile(path: "/dev/null")) { try Blob(path: "/dev/null") }
  }

  @Test("the digest is that of the whole file, tar included")
  func digest() throws {
    let scratch = try Scratch()
    let payload = [UInt8](repeating: 5, count: 3_000_000)
    let tar = FixtureTests.paxTar(payload)
    let blob = try Blob(path: try scratch.write("blob.tar", tar))
    #expect(blob.isTarWrapped && blob.payloadOffset == 1536 && blob.payloadSize == UInt64(payload.count))
    var told = 0
    #expect(try blob.sha256 { told += $0 } == sha256(tar))
    #expect(told == tar.count)
    let expected = String(decoding: try runProgram(["sha256sum", blob.path]).prefix(64), as: UTF8.self)
    #expect(sha256(tar) == expected)
  }

  @Test("a tar that promises more than the file has is an error")
  func cutTar() throws {
    let scratch = try Scratch()
    let tar = FixtureTests.paxTar([UInt8](repeating: 5, count: 10_000))
    let path = try scratch.write("cut.tar", Array(tar.prefix(9000)))
    let error = #expect(throws: BlobError.self) { try Blob(path: path) }
    guard case .tar(path, _) = error else {
      Issue.record("\(String(describing: error))")
      return
    }
  }
}
