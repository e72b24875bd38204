import Glibc
import Posix
import Testing

extension Warmblk {
  /// What `list --json` says of a prefetch.
  struct Warm: Decodable, Equatable {
    var state: String
    var wantedBytes, residentBytes, fetchedBytes, failedBytes, localBytes, requests, milliseconds: UInt64
    var hitChunks, lateChunks, unreadChunks, wastedChunks, failedChunks, untracedChunks: UInt64
    var level: String
    var pageCache: PageCache?
    var trouble: String?
  }

  /// What of a disk is in its page cache.
  struct PageCache: Decodable, Equatable {
    var wantedBytes, filledBytes, failedBytes, milliseconds: UInt64
    var isHeld: Bool
  }

  /// A device that is warmed, and what `add` said of it.
  static func warm(_ config: String, _ words: String...) throws -> (disk: Disk, said: String) {
    let outcome = try start(["add", "--config", config] + words).wait(seconds: 60)
    try #require(outcome.succeeded, "\(outcome)")
    let id = try #require(UInt32(outcome.output.dropFirst("/dev/ublkb".count).dropLast()), "\(outcome)")
    return (Disk(id: id), outcome.errors)
  }

  /// The state of a prefetch, once it is as wanted: it is told once a second.
  static func warmth(
    _ disk: Disk, seconds: Int = 10, until isThere: (Warm) -> Bool = { _ in true }
  ) throws -> Warm {
    var found: Warm?
    let inTime = Deadline(milliseconds: seconds * 1000).wait(interval: 100) {
      found = (try? row(disk))?.warm
      return found.map(isThere) ?? false
    }
    let warm = try #require(found, "nothing is said of a prefetch")
    #expect(inTime, "\(warm)")
    return warm
  }
}

/// Reads of a start: 4 KiB each, at places all over the disk, some of them next to each other.
struct StartReads {
  let places: [UInt64]

  init(of size: Int, count: Int = 120) {
    places = (0..<UInt64(count)).map { number in
      let block = number % 3 == 2 ? (number - 1) * 7919 + 1 : number * 7919
      return block % UInt64(size / 4096) * 4096
    }
  }

  /// Reads them, and compares what comes.
  func replay(_ disk: Disk, _ content: RawContent, direct: Bool = true) throws {
    try disk.reading(direct: direct) { reader in
      for place in places {
        let isRight = try reader.matches(content, 4096, at: place)
        #expect(isRight, "at \(place)")
      }
    }
  }

  /// The same as text.
  var text: String { places.map { "\($0) 4096\n" }.joined() }
}
