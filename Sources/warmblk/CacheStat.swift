import ArgumentParser
import BlobStore
import Host

struct CacheStat: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "stat",
    abstract: "Show how much the cache has and may have.",
    discussion: """
      The limit is one for the data; when it is passed, what was not read for the longest time goes. On a full disk
      reads go past the cache, so free is worth a look too.
      """)

  @Flag(help: "One object; sizes are bytes.")
  var json = false

  @OptionGroup var cache: CacheArguments

  @OptionGroup var common: CommonOptions

  func run() throws {
    common.installLog()
    try failing("cache stat") { () throws(HostError) in
      let cache = try cache.open()
      let summary = CacheSummary(
        cache, try cacheResult { () throws(BlobError) in try cache.usages() },
        try cacheResult { () throws(BlobError) in try cache.freeBytes() })
      if json { return try printJSON(summary) }
      print(
        formatTable([
          ["folder", summary.folder],
          ["data", "\(formatBytes(summary.bytes)) of at most \(formatBytes(summary.limit))"],
          ["free", "\(formatBytes(summary.free)) on its disk"],
          ["blobs", "\(summary.blobs): \(summary.trusted) trusted, \(summary.inUse) in use"],
        ]))
    }
  }
}

/// What `warmblk cache stat` shows.
private struct CacheSummary: Encodable {
  let folder: String
  let bytes: UInt64
  let limit: UInt64
  let free: UInt64
  let blobs: Int
  let trusted: Int
  let inUse: Int

  init(_ cache: NodeCache, _ usages: [NodeCache.Usage], _ free: UInt64) {
    folder = cache.path
    bytes = usages.reduce(0) { $0 + $1.diskBytes }
    limit = cache.limit
    self.free = free
    blobs = usages.count
    trusted = usages.count { $0.isTrusted }
    inUse = usages.count { $0.isInUse }
  }
}
