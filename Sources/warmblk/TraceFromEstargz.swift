import ArgumentParser
import FileSystems
import Host
import Image
import Posix

struct TraceFromEstargz: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "from-estargz",
    abstract: "List the files that an eStargz layer wants first.",
    discussion: """
      Whoever made the layer watched its image run, and put the files that were used
      in front. This prints their paths, in that order, as a list for
      'warmblk trace from-files' on an image with the same content here:

        warmblk trace from-estargz layer.tar.gz -o start.txt
        warmblk trace from-files --config image.json --list start.txt -o web.trace

      Where the table of contents is in another image, the only layer of that goes
      with --toc. A layer whose maker found nothing to put in front has an empty list.
      Of an image with several such layers, make a list of each, the top one first.
      """)

  @Argument(help: ArgumentHelp("The layer, as the registry has it.", valueName: "layer"))
  var layer: String

  @Option(help: ArgumentHelp("The layer that has its table of contents, if it has none itself.", valueName: "file"))
  var toc: String?

  @Option(
    name: .shortAndLong,
    help: ArgumentHelp("The list to write. Default: standard output.", valueName: "file"))
  var output: String?

  @Flag(help: "Replace a file that is there already.")
  var force = false

  @OptionGroup var common: CommonOptions

  func run() throws {
    common.installLog()
    try failing("trace from-estargz") { () throws(HostError) in
      if let output, !force, fileExists(output) {
        throw .refused("\(output) is there already: give another name, or --force to replace it")
      }
      let contents = try imageResult { () throws(ImageError) in try readStargz(layer: layer, contents: toc) }
      var text: [UInt8] = []
      for path in contents.files { text += path + [UInt8(ascii: "\n")] }
      try write(text)
      printError("warmblk trace from-estargz: \(layer): \(summary(contents))")
    }
  }

  private func write(_ text: [UInt8]) throws(HostError) {
    do throws(Errno) {
      if let output {
        try writeFileAtomically(output, text, durable: true)
      } else {
        try writeStandardOutput(text)
      }
    } catch {
      throw .system(what: "writing \(output ?? "standard output")", error)
    }
  }

  private func summary(_ contents: StargzContents) -> String {
    switch contents.landmark {
    case .prefetch:
      "\(contents.files.count) files come first"
        + (contents.unlisted > 0
          ? "; \(contents.unlisted) more have names of several lines, which no list can have" : "")
    case .none: "its maker found no file that should come first"
    case .absent: "it does not say which files come first"
    }
  }
}
