import ArgumentParser
import Host
import Image
import Trace

struct TraceConvert: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "convert",
    abstract: "Make a trace of one, or of what another tool recorded.",
    discussion: """
      What the input is comes from its bytes: a trace of Warmblk or of overlaybd (also the tar of an acceleration layer),
      JSON lines, OFFSET LENGTH lines (bytes of the disk), what blkparse prints, an iolog of fio. Only the first and
      the third name layers; all others need the image that they were recorded on:

        warmblk trace convert layer/trace --config image.json -o web.trace
        blkparse -i ublkb0 | warmblk trace convert - --config image.json -o web.trace
        warmblk trace convert web.trace --to overlaybd --config image.json -o trace
        warmblk trace convert web.trace --to json -o - | jq .

      With --config a trace of Warmblk is brought to that image: ranges in layers that both have are kept, wherever these
      are in the stack; the rest is dropped, and said. No layer's content is read.
      """)

  enum Form: String, ExpressibleByArgument, CaseIterable { case warmblk, overlaybd, json, ranges }

  @Argument(help: ArgumentHelp("What to convert; - is standard input.", valueName: "file"))
  var input: String

  @Option(help: ArgumentHelp("The image that the trace is, or shall be, of.", valueName: "image.json"))
  var config: String?

  @Option(
    help: ArgumentHelp(
      "What to write: warmblk, overlaybd (records of at most 1 MiB), json, ranges (OFFSET LENGTH). Default: warmblk.",
      valueName: "form"))
  var to = Form.warmblk

  @OptionGroup var output: TraceOutput

  @OptionGroup var remote: RemoteArguments

  @OptionGroup var common: CommonOptions

  func validate() throws {
    if to == .overlaybd, config == nil {
      throw ValidationError("--to overlaybd: its offsets are in uncompressed layers; name the image with --config.")
    }
  }

  func run() throws {
    common.installLog()
    try failing("trace convert") { () throws(HostError) in
      try output.check()
      let source = try loadSource(input)
      var image: Image?
      if let config {
        let settings = try remote.settings()
        image = try imageResult { () throws(ImageError) in
          try Image.open(configPath: config, remote: settings, upper: .offline)
        }
      }
      let trace = try convert(source, image)
      try write(trace, image)
    }
  }

  private func convert(_ source: TraceSource, _ image: Image?) throws(HostError) -> AccessTrace {
    if let image {
      let made = try imageResult { () throws(ImageError) in try source.trace(on: image) }
      for note in made.notes { printError("warmblk trace convert: \(input): \(note): left out") }
      return made.trace
    }
    guard case .accesses(let trace) = source else {
      throw .refused("\(input): it does not name layers; name the image that it was recorded on with --config")
    }
    return trace
  }

  private func write(_ trace: AccessTrace, _ image: Image?) throws(HostError) {
    switch to {
    case .warmblk:
      try output.write(trace)
      output.report(
        "\(formatCount(trace.accesses.count, "access", "accesses")) of \(formatCount(trace.layers.count, "layer"))")
    case .json:
      var text: [UInt8] = []
      trace.forEachJSONLine { text.append(contentsOf: $0.utf8) }
      try output.write(text)
      output.report(
        "\(formatCount(trace.accesses.count, "access", "accesses")) of \(formatCount(trace.layers.count, "layer"))")
    case .ranges:
      let shown = trace.accesses.filter { !$0.device.isEmpty }
      var text: [UInt8] = []
      for access in shown { text.append(contentsOf: "\(access.device.lowerBound) \(access.device.count)\n".utf8) }
      try output.write(text)
      output.report(
        "\(formatCount(shown.count, "range")) of the disk, \(formatCount(trace.accesses.count - shown.count, "access", "accesses")) of none"
      )
    case .overlaybd:
      guard let image else { preconditionFailure("validated") }
      let made = image.overlaybdTrace(of: trace)
      try output.write(made.encoded())
      output.report(formatCount(made.records.count, "record"))
    }
  }
}

/// What a call on an image returns or throws, as commands throw.
func imageResult<T>(_ body: () throws(ImageError) -> T) throws(HostError) -> T {
  do throws(ImageError) { return try body() } catch { throw .image(error) }
}
