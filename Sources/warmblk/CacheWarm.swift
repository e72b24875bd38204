import ArgumentParser
import Host
import Image

struct CacheWarm: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "warm",
    abstract: "Bring all remote layers of an image to the cache.",
    discussion: """
      For what will be started soon, or where the registry will not be there. Layers that are on this machine, and
      what the cache has, are not fetched; one that was interrupted goes on where it stopped. Devices of the image may
      run meanwhile: their reads go first.

        warmblk cache warm /images/web/config.v1.json

      Prints one line: bytes of the layers, how many of them came now, in how many requests. Exit code 1: something did
      not come; what did stays.
      """)

  @Argument(help: ArgumentHelp("The image.", valueName: "image.json"))
  var config: String

  @OptionGroup var remote: RemoteArguments

  @OptionGroup var common: CommonOptions

  func validate() throws {
    if remote.noCache { throw ValidationError("--no-cache: there would be nothing to warm.") }
  }

  func run() throws {
    common.installLog()
    let line = ProgressLine("warming")
    try failing("cache warm") { () throws(HostError) in
      defer { line.end() }
      let settings = try remote.settings()
      let image: Image
      do throws(ImageError) { image = try Image.open(configPath: config, remote: settings, upper: .leftOut) } catch {
        throw .image(error)
      }
      guard let remote = image.remote else { return print("\(config): all layers are on this machine") }
      if let problem = remote.cacheProblem { throw .refused("\(problem); there is nothing to warm") }
      let warmth = remote.warm(image) { line.show($0) }
      line.end()
      print(
        "\(config): \(formatBytes(warmth.bytes)) in remote layers, \(formatBytes(warmth.fetched)) of it fetched now in "
          + "\(warmth.fetches) requests")
      for error in warmth.errors { printError("warmblk cache warm: \(error)") }
      if !warmth.errors.isEmpty { throw .refused("\(warmth.errors.count) pieces did not come; try again") }
    }
  }
}
