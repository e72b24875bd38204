import ArgumentParser
import Host
import Image

struct Export: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "export",
    abstract: "Write what an image's disk holds to a raw file.",
    discussion: """
      The file is sparse: what is zero takes no space. No driver is needed, so this works on any machine, and
      compares an image with a disk:

        warmblk export image.json disk.raw
        sha256sum disk.raw /dev/ublkb0

      The file must not exist unless --force replaces it; an export that fails removes it.
      """)

  @Argument(help: ArgumentHelp("The image.", valueName: "image.json"))
  var config: String

  @Argument(help: ArgumentHelp("The file to write.", valueName: "raw"))
  var output: String

  @Flag(help: "Replace a file that is there already.")
  var force = false

  @OptionGroup var remote: RemoteArguments

  @OptionGroup var common: CommonOptions

  func run() throws {
    common.installLog()
    let line = ProgressLine("exporting")
    try failing("export") { () throws(HostError) in
      defer { line.end() }
      let remote = try remote.settings()
      do throws(ImageError) {
        let image = try Image.open(configPath: config, remote: remote, upper: .offline)
        for warning in image.warnings { printError("warmblk export: \(warning)") }
        if let problem = image.remote?.cacheProblem {
          printError("warmblk export: \(problem): going on without a cache")
        }
        let written = try Exporter.run(image, to: output, force: force) { line.show($0) }
        line.end()
        print("\(output): \(formatBytes(image.virtualSize)), \(formatBytes(written)) of it written")
      } catch {
        throw .image(error)
      }
    }
  }
}
