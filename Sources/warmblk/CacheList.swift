import ArgumentParser
import BlobStore
import Glibc
import Host

struct CacheList: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ls",
    abstract: "List the blobs of the cache.",
    discussion: """
      One line per blob, the one that was read last first. HERE is what the cache has of it. STATE is trusted (all of
      it is here and had its sha256), complete (all is here, not checked yet) or partial. USED is how long ago it was
      read last, and "now" when a process has it open.

        warmblk cache ls
        warmblk cache ls --json | jq -r '.[] | select(.trusted) | .digest'
      """)

  @Flag(help: "An array of objects; sizes are bytes, times seconds since 1970.")
  var json = false

  @OptionGroup var cache: CacheArguments

  @OptionGroup var common: CommonOptions

  func run() throws {
    common.installLog()
    try failing("cache ls") { () throws(HostError) in
      let cache = try cache.open()
      let blobs = try cacheResult { () throws(BlobError) in try cache.usages() }.map(CachedBlob.init)
      if json { return try printJSON(blobs) }
      if blobs.isEmpty { return print("\(cache.path): empty") }
      let rows = blobs.map { blob in
        [blob.digest, formatBytes(blob.size), formatBytes(blob.here), blob.state, blob.age]
      }
      print(formatTable([["DIGEST", "SIZE", "HERE", "STATE", "USED"]] + rows, rightAligned: [1, 2]))
    }
  }
}

/// A line of `warmblk cache ls`.
struct CachedBlob: Encodable {
  let digest: String
  let size: UInt64
  let here: UInt64
  let chunks: Int
  let presentChunks: Int
  let trusted: Bool
  let inUse: Bool
  let lastUse: Int64

  init(_ usage: NodeCache.Usage) {
    digest = "sha256:\(usage.hex)"
    size = usage.blobSize
    here = usage.diskBytes
    chunks = usage.chunks
    presentChunks = usage.presentChunks
    trusted = usage.isTrusted
    inUse = usage.isInUse
    lastUse = usage.lastUse
  }

  var state: String { trusted ? "trusted" : presentChunks == chunks ? "complete" : "partial" }

  /// `now`, or the time since the last use in its largest unit.
  var age: String {
    if inUse { return "now" }
    if lastUse == 0 { return "-" }
    let seconds = max(0, Int64(time(nil)) - lastUse)
    for (unit, name) in [(86400, "d"), (3600, "h"), (60, "min")] as [(Int64, String)] where seconds >= unit {
      return "\(seconds / unit) \(name)"
    }
    return "\(seconds) s"
  }
}
