import ArgumentParser
import BlobStore
import Host
import Image
import Posix

struct Cache: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "cache",
    abstract: "Look at and look after the node's cache of remote layers.",
    discussion: """
      One folder has the bytes of remote layers that were read, for all devices of this machine. Everything here is safe
      while devices run: what they read and is not there any more, they fetch again.

        warmblk cache stat                  how much is there, how much may be
        warmblk cache ls                    which blobs
        warmblk cache verify                is all of it what was stored?
        warmblk cache evict                 make room: what no device has open goes
        warmblk cache import layer.tar      a blob that came another way
        warmblk cache warm image.json       all of an image, from its registry

      It can be removed with rm -rf when no device runs.
      """,
    subcommands: [
      CacheList.self, CacheStat.self, CacheVerify.self, CacheEvict.self, CacheImport.self, CacheWarm.self,
    ])
}

/// Which cache.
struct CacheArguments: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "The cache's folder. Default: as the service configuration says, else /var/lib/warmblk/cache.", valueName: "dir"))
  var dir: String?

  @Option(
    help: ArgumentHelp(
      "overlaybd's service configuration: folder and limit. Default: /etc/overlaybd/overlaybd.json, if it exists.",
      valueName: "overlaybd.json"))
  var serviceConfig: String?

  /// Opens the cache, which must be there unless it is `made`.
  func open(made: Bool = false) throws(HostError) -> NodeCache {
    let settings: RemoteSettings
    do throws(ImageError) { settings = try RemoteSettings.load(servicePath: serviceConfig) } catch {
      throw .image(error)
    }
    let folder = dir.map { absolutePath($0) } ?? settings.cacheFolder ?? RemoteSettings.standardCacheFolder
    guard made || fileExists("\(folder)/lock") else {
      throw .refused("\(folder): there is no cache; name another folder with --dir")
    }
    return try cacheResult { () throws(BlobError) in try NodeCache(path: folder, limit: settings.cacheLimit) }
  }
}

/// What a call on the cache returns or throws, as commands throw.
func cacheResult<T>(_ body: () throws(BlobError) -> T) throws(HostError) -> T {
  do throws(BlobError) { return try body() } catch { throw .image(.blob(error)) }
}

/// The blob that `text` names: its digest, with or without `sha256:`, or as many of its first digits as tell it apart.
func findBlob(_ text: String, _ cache: NodeCache) throws(HostError) -> String {
  let digits = text.hasPrefix("sha256:") ? String(text.dropFirst(7)) : text
  let found = try cacheResult { () throws(BlobError) in try cache.blobs() }.filter { $0.hasPrefix(digits) }
  guard let hex = found.first, !digits.isEmpty else {
    throw .refused("\(text): the cache \(cache.path) has no such blob; see 'warmblk cache ls'")
  }
  guard found.count == 1 else { throw .refused("\(text): \(found.count) blobs begin so; give more digits") }
  return hex
}
