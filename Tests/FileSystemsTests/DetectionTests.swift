import Posix
import Testing
import TestSupport

@testable import FileSystems

@Suite struct DetectionTests {
  private func error(_ disk: Disk) -> FileSystemError? {
    do throws(FileSystemError) { _ = try FileResolver(disk) } catch { return error }
    return nil
  }

  @Test("partitions are named with their places", arguments: ["gpt", "dos"])
  func partitions(label: String) throws {
    let scratch = try Scratch()
    let script = """
      truncate -s 20M \(scratch("disk"))
      printf 'label: \(label)\\nstart=2048, size=4096\\nstart=8192, size=16384\\n' | sfdisk -q \(scratch("disk"))
      """
    try runProgram(["bash", "-c", script])
    let error = error(try Disk.file(scratch("disk")))
    let ranges: [DiskRange] = [1_048_576..<3_145_728, 4_194_304..<12_582_912]
    #expect(error == .partitioned(table: label == "gpt" ? "GPT" : "MBR", ranges))
    #expect("\(error!)".contains("bytes 1048576 to 3145728, bytes 4194304 to 12582912. Files can be found only where"))
  }

  @Test("other file systems are named")
  func others() throws {
    let scratch = try Scratch()
    let script =
      "truncate -s 320M \(scratch("xfs")); mkfs.xfs -q \(scratch("xfs")); truncate -s 1M \(scratch("swap")); mkswap -q \(scratch("swap"))"
    try runProgram(["bash", "-c", script])
    #expect(error(try Disk.file(scratch("xfs"))) == .noFileSystem(found: "XFS"))
    #expect(error(try Disk.file(scratch("swap"))) == .noFileSystem(found: "swap space"))
    for size in [0, 511, 512, 2047, 2048, 10_000] {
      #expect(error(Disk([UInt8](repeating: 0, count: size))) == .noFileSystem(found: nil))
    }
  }

  @Test("features that are not known are refused, and a disk that is too short")
  func refused() throws {
    let tree = try Tree()
    let ext = try readFile(try tree.ext(["-t", "ext4"], size: "8M"))
    func change(_ offset: Int, _ value: UInt8, _ bytes: [UInt8]) -> [UInt8] {
      var bytes = bytes
      bytes[1024 + offset] |= value
      return bytes
    }
    for (offset, value, words) in [
      (0x60, 8, "the journal of another"), (0x60, 1, "compression"), (0x61, 0x10, "dirdata"), (0x63, 0x40, "0x400000"),
    ] {
      #expect("\(error(Disk(change(offset, UInt8(value), ext)))!)".contains(words))
    }
    guard case .damaged(.superblock, _) = error(Disk(Array(ext.dropLast(1024)))) else {
      Issue.record("a disk that is too short is taken")
      return
    }
    let erofs = try readFile(try tree.erofs([]))
    #expect("\(error(Disk(change(80, 0x80, erofs)))!)".contains("48 bits"))
    #expect("\(error(Disk(change(81, 1, erofs)))!)".contains("0x100"))
  }

  @Test("a failing disk ends everything")
  func failing() throws {
    let tree = try Tree()
    let bytes = try readFile(try tree.ext(["-t", "ext4"], size: "8M"))
    let good = Disk(bytes)
    var reads = 0
    let disk = Disk(size: good.size) { buffer, offset throws(FileSystemError) in
      reads += 1
      if reads > 3 { throw .read("no answer") }
      buffer.copyBytes(from: bytes[Int(offset)..<Int(offset) + buffer.count])
    }
    let resolver = try FileResolver(disk)
    #expect(throws: FileSystemError.read("no answer")) { try resolver.add("/") }
  }
}
