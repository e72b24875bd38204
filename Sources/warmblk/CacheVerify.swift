import ArgumentParser
import BlobStore
import Host
import Image

struct CacheVerify: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "verify",
    abstract: "Read the cache and drop what is damaged.",
    discussion: """
      Reads every chunk and compares its checksum, and of complete blobs the sha256. What is damaged is dropped: it is
      fetched again when it is read. Devices check what they read themselves, so this is for a disk that one does not
      trust any more.

        warmblk cache verify
        warmblk cache verify 3f2a9c       one blob, by the first digits of its digest

      Exit code 1: something was damaged.
      """)

  @Argument(help: ArgumentHelp("Blobs; all if none is named.", valueName: "digest"))
  var digests: [String] = []

  @OptionGroup var cache: CacheArguments

  @OptionGroup var common: CommonOptions

  func run() throws {
    common.installLog()
    let line = ProgressLine("verifying")
    try failing("cache verify") { () throws(HostError) in
      defer { line.end() }
      let cache = try cache.open()
      var blobs: [String] = []
      for digest in digests { blobs.append(try findBlob(digest, cache)) }
      if digests.isEmpty { blobs = try cacheResult { () throws(BlobError) in try cache.blobs() } }
      var sum = NodeCache.Verification()
      var wrong: [String] = []
      for hex in blobs {
        let size = try cacheResult { () throws(BlobError) in try cache.usage(hex) }?.blobSize
        let found = try cacheResult { () throws(BlobError) in
          try cache.verify(hex, progress: { line.show(Progress(done: $0, total: size)) })
        }
        guard let found else { continue }
        sum.whole += found.whole
        sum.damaged += found.damaged
        if let sha256 = found.sha256, sha256 != hex { wrong.append("sha256:\(hex): its sha256 is \(sha256); dropped") }
      }
      line.end()
      for text in wrong { printError("warmblk cache verify: \(text)") }
      print(
        "\(blobs.count) \(blobs.count == 1 ? "blob" : "blobs"): \(sum.whole) chunks are whole, \(sum.damaged) were damaged and dropped"
      )
      if sum.damaged > 0 || !wrong.isEmpty {
        throw .refused("there was damage; what is read of it will be fetched again")
      }
    }
  }
}
