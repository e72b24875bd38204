import ArgumentParser
import BlobStore
import Host
import Image

struct CacheImport: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "import",
    abstract: "Put a blob into the cache that came another way.",
    discussion: """
      A file with the bytes as the registry has them: a layer's blob of an OCI layout, an overlaybd.commit that was
      pushed, a download. It is known by its sha256 from then on, whatever it is called, and no registry is asked for
      it. Not for raw disks: see 'warmblk import'.

        warmblk cache import oci/blobs/sha256/3f2a9c…
        warmblk cache import layer.tar --digest sha256:3f2a9c…    refuses anything else

      Prints the digest. The file is not needed afterwards.
      """)

  @Argument(help: ArgumentHelp("The blob.", valueName: "file"))
  var file: String

  @Option(help: ArgumentHelp("What the file must be.", valueName: "sha256:…"))
  var digest: String?

  @Flag(help: "One object: digest, size, bytes added.")
  var json = false

  @OptionGroup var cache: CacheArguments

  @OptionGroup var common: CommonOptions

  func run() throws {
    common.installLog()
    let lines: [NodeCache.ImportStep: ProgressLine] = [.reading: .init("reading"), .importing: .init("importing")]
    try failing("cache import") { () throws(HostError) in
      defer { for line in lines.values { line.end() } }
      let cache = try cache.open(made: true)
      let size = try cacheResult { () throws(BlobError) in try Blob(path: file) }.fileSize
      let result = try cacheResult { () throws(BlobError) in
        try cache.importBlob(file: file, digest: digest) { lines[$0]?.show(Progress(done: $1, total: size)) }
      }
      for line in lines.values { line.end() }
      if !result.isTrusted {
        printError("warmblk cache import: a device is fetching some of it just now; the rest is here")
      }
      if json { return try printJSON(result) }
      print("sha256:\(result.sha256)")
    }
  }
}
