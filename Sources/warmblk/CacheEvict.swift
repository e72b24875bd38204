import ArgumentParser
import BlobStore
import Host

struct CacheEvict: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "evict",
    abstract: "Drop blobs from the cache.",
    discussion: """
      Without more words, all that no device has open. Devices whose blobs are dropped go on, and fetch again what they
      read.

        warmblk cache evict
        warmblk cache evict 3f2a9c 77     these blobs, by the first digits of their digests
        warmblk cache evict --all

      Prints the bytes that were freed. To keep the cache small, set cacheConfig.cacheSizeGB in the service
      configuration instead.
      """)

  @Argument(help: ArgumentHelp("Blobs to drop, open or not.", valueName: "digest"))
  var digests: [String] = []

  @Flag(help: "Also what devices have open.")
  var all = false

  @OptionGroup var cache: CacheArguments

  @OptionGroup var common: CommonOptions

  func validate() throws {
    if all, !digests.isEmpty { throw ValidationError("--all and digests exclude each other.") }
  }

  func run() throws {
    common.installLog()
    try failing("cache evict") { () throws(HostError) in
      let cache = try cache.open()
      var freed: UInt64 = 0
      if digests.isEmpty {
        freed = try evict(cache, nil)
        if all {
          for hex in try cacheResult({ () throws(BlobError) in try cache.blobs() }) { freed += try evict(cache, hex) }
        }
      }
      for digest in digests { freed += try evict(cache, try findBlob(digest, cache)) }
      print("\(formatBytes(freed)) freed")
    }
  }

  private func evict(_ cache: NodeCache, _ hex: String?) throws(HostError) -> UInt64 {
    guard let freed = try cacheResult({ () throws(BlobError) in try cache.evict(hex) }) else {
      throw .refused("another process has been making room for more than 5 seconds; try again")
    }
    return freed
  }
}
