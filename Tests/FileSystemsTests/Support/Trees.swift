import Glibc
import Posix
import Testing
import TestSupport

@testable import FileSystems

/// A folder of files of many kinds, and images of file systems that other programs make of it.
struct Tree {
  let scratch: Scratch
  let folder: String
  /// All files, as paths in the image.
  let files: [String]

  init() throws {
    scratch = try Scratch()
    folder = scratch("tree")
    let script = """
      set -eu
      mkdir -p \(folder)/a/b/c \(folder)/many \(folder)/small; cd \(folder)
      seq 60000 >numbers; seq 90000 | sha256sum >line; : >empty; printf x >a/one; seq 900 >'a/b/name with spaces ü'
      for i in $(seq 700); do echo $i >many/a_rather_long_name_of_file_$i; done
      for i in 1 2 3; do echo $i >small/$i; done
      head -c 300000 /dev/urandom >random; head -c 4096 random >a/b/c/block; head -c 4097 random >a/b/c/more
      truncate -s 5M sparse; for i in 0 700000 4000000; do seq 2000 | dd of=sparse bs=1 seek=$i conv=notrunc status=none; done
      ln -s a/b/../one short; ln -s /a/b/c absolute; ln -s ../../../../absolute/./more a/b/up; ln -s loop loop
      ln -s "$(printf 'a/%.0s' $(seq 30))one" longer; ln -s "$(printf 'a/../%.0s' $(seq 30))numbers" long
      ln -s short a/dangling; mkfifo pipe; ln numbers a/second
      """
    try runProgram(["bash", "-c", script])
    let list = try runProgram(["find", folder, "-type", "f", "-printf", "/%P\\n"])
    files = list.split(separator: 0x0A).map { String(decoding: $0, as: UTF8.self) }.sorted()
  }

  func source(_ path: String) throws -> [UInt8] { try readFile(folder + path) }

  /// Runs mke2fs, and returns the image's path.
  func ext(_ options: [String], size: String = "40M", name: String = "image") throws -> String {
    try runProgram(["mke2fs", "-q", "-F", "-d", folder] + options + [scratch(name), size])
    return scratch(name)
  }

  /// Runs mkfs.erofs, and returns the image's path.
  func erofs(_ options: [String], name: String = "image") throws -> String {
    try runProgram(["mkfs.erofs", "--quiet", "-T0"] + options + [scratch(name), folder])
    return scratch(name)
  }
}

extension Disk {
  /// A disk that is a file, which is read when it is wanted.
  static func file(_ path: String) throws -> Disk {
    let file = try Descriptor.open(path)
    let holder = Holder(file)
    let size = UInt64(try holder.file.status().st_size)
    return Disk(size: size) { buffer, offset throws(FileSystemError) in
      do throws(Errno) {
        guard try holder.file.readFully(into: buffer, at: offset) == buffer.count else { throw .ioError }
      } catch {
        throw .read("\(path): \(error)")
      }
    }
  }

  private final class Holder {
    let file: Descriptor
    init(_ file: consuming Descriptor) { self.file = file }
  }
}

extension FileResolver {
  func content(_ path: String) throws -> [DiskRange] { try system.content(of: try find(Array(path.utf8))) }

  func add(_ path: String) throws { try add(FileList.Entry(path: Array(path.utf8))) }
}

extension [DiskRange] {
  var total: UInt64 { reduce(0) { $0 + UInt64($1.count) } }

  /// Neighbours joined.
  var joined: [DiskRange] {
    reduce(into: []) { result, range in
      if let last = result.last, last.upperBound == range.lowerBound {
        result[result.count - 1] = last.lowerBound..<range.upperBound
      } else if !range.isEmpty {
        result.append(range)
      }
    }
  }

  func covers(_ range: DiskRange) -> Bool {
    contains { $0.lowerBound <= range.lowerBound && range.upperBound <= $0.upperBound }
  }

  /// By their places.
  var inOrder: [DiskRange] { sorted { $0.lowerBound < $1.lowerBound }.joined }
}

/// Expects two to be the same. `#expect` would print both, and look for the shortest way from one to the other.
func expectSame<Value: Equatable>(
  _ one: Value, _ other: Value, _ what: String, location: SourceLocation = #_sourceLocation
) {
  let isSame = one == other
  #expect(isSame, "\(what)", sourceLocation: location)
}
