import BlobStore
import Glibc
import Posix
import Testing
import TestSupport

@testable import Image

extension Scratch {
  /// Writes an `image.json` over layer files, bottom to top, and returns its path.
  func config(_ layers: [String], name: String = "image.json") throws -> String {
    try write(name, try ImageConfig(lowers: layers.map { ImageConfig.Lower(file: $0) }).encoded())
  }
}

/// A program that did not do what it was asked.
struct ProgramFailed: Error { let command: [String], status: Int32 }

/// Runs a program of the PATH and returns what it prints.
@discardableResult
func run(_ command: [String]) throws -> [UInt8] {
  var pipe = try Pipe()
  let writing = pipe.writing.take()!
  let reading = pipe.reading.take()!
  var actions = posix_spawn_file_actions_t()
  posix_spawn_file_actions_init(&actions)
  defer { posix_spawn_file_actions_destroy(&actions) }
  posix_spawn_file_actions_adddup2(&actions, writing.rawValue, 1)
  var arguments: [UnsafeMutablePointer<CChar>?] = command.map { strdup($0) } + [nil]
  defer { arguments.forEach { free($0) } }
  var pid: pid_t = 0
  guard posix_spawnp(&pid, command[0], &actions, nil, &arguments, environ) == 0 else {
    throw ProgramFailed(command: command, status: -1)
  }
  _ = consume writing
  var output: [UInt8] = []
  var chunk = [UInt8](repeating: 0, count: 1 << 16)
  while true {
    let count = try chunk.withUnsafeMutableBytes { try reading.read(into: $0) }
    if count == 0 { break }
    output += chunk[..<count]
  }
  var status: Int32 = 0
  waitpid(pid, &status, 0)
  guard status == 0 else { throw ProgramFailed(command: command, status: status) }
  return output
}

/// The whole merged view, read in pieces of `step` bytes.
func contents(of image: Image, step: Int = 1 << 20) throws -> [UInt8] {
  var reader = ImageReader(image)
  var bytes = [UInt8](repeating: 0xaa, count: Int(image.virtualSize))
  try bytes.withUnsafeMutableBytes { all in
    var offset = 0
    while offset < all.count {
      let end = min(all.count, offset + step)
      try reader.read(into: UnsafeMutableRawBufferPointer(rebasing: all[offset..<end]), at: UInt64(offset))
      offset = end
    }
  }
  return bytes
}

/// sha256 of bytes, hexadecimal.
func sha256(_ bytes: [UInt8]) -> String {
  var hash = BlobHash()
  bytes.withUnsafeBytes { hash.update($0) }
  return hash.hexadecimal()
}
