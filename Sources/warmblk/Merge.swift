import ArgumentParser
import Host
import Image

struct Merge: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "merge",
    abstract: "Make one layer of a whole image.",
    discussion: """
      All layers of the image, and its upper if it has one, become one layer that needs nothing below it. What higher
      layers hide and what is zero is left out; the image stays as it is.

        warmblk merge --config work/image.json -o layer --compress zstd

      Prints the layer's digest and its bytes. Layers in a registry are fetched through the node's cache. An upper must
      not be in use.
      """)

  @Option(help: ArgumentHelp("The image.", valueName: "image.json"))
  var config: String

  @OptionGroup var layer: LayerArguments

  @OptionGroup var remote: RemoteArguments

  @OptionGroup var common: CommonOptions

  func run() throws {
    common.installLog()
    let line = ProgressLine("merging")
    try failing("merge") { () throws(HostError) in
      defer { line.end() }
      let settings = try remote.settings()
      let result = try imageResult { () throws(ImageError) in
        let image = try Image.open(configPath: config, remote: settings, upper: .offline)
        if let problem = image.remote?.cacheProblem {
          printError("warmblk merge: \(problem): going on without a cache")
        }
        return try Merger.run(image, to: layer.options) { line.show($0) }
      }
      line.end()
      try layer.report(result, by: "merge")
    }
  }
}
