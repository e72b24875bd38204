import ArgumentParser
import Host
import Image
import Trace

struct TraceDiff: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "diff",
    abstract: "Say which bytes two traces name.",
    discussion: """
      By layer, in bytes as stored; a layer is the same one wherever it is in a stack, so traces of two versions of an
      image can be compared.

        warmblk trace diff monday.trace tuesday.trace

      Exit code 0 also when they differ.
      """)

  @Argument(help: ArgumentHelp("A trace.", valueName: "first"))
  var first: String

  @Argument(help: ArgumentHelp("Another one.", valueName: "second"))
  var second: String

  @Flag(help: "One object: bytes by layer and in all.")
  var json = false

  @OptionGroup var common: CommonOptions

  func run() throws {
    common.installLog()
    try failing("trace diff") { () throws(HostError) in
      let difference = TraceDifference(try loadTrace(first), try loadTrace(second))
      if json { return try printJSON(Output(difference)) }
      print("only first: \(first)\nonly second: \(second)\n")
      var rows = [["LAYER", "BOTH", "ONLY FIRST", "ONLY SECOND"]]
      for part in difference.parts {
        rows.append([
          shortIdentity(part.layer), formatBytes(part.both), formatBytes(part.onlyFirst), formatBytes(part.onlySecond),
        ])
      }
      rows.append([
        "all", formatBytes(difference.both), formatBytes(difference.onlyFirst), formatBytes(difference.onlySecond),
      ])
      print(formatTable(rows, rightAligned: [1, 2, 3]))
    }
  }

  private struct Output: Encodable {
    struct Part: Encodable {
      let layer: String?
      let both: UInt64
      let onlyFirst: UInt64
      let onlySecond: UInt64
    }

    let both: UInt64
    let onlyFirst: UInt64
    let onlySecond: UInt64
    let layers: [Part]

    init(_ difference: TraceDifference) {
      both = difference.both
      onlyFirst = difference.onlyFirst
      onlySecond = difference.onlySecond
      layers = difference.parts.map {
        Part(layer: $0.layer, both: $0.both, onlyFirst: $0.onlyFirst, onlySecond: $0.onlySecond)
      }
    }
  }
}

/// A layer's identity in a column: enough of it to tell layers apart.
func shortIdentity(_ identity: String?) -> String {
  guard let identity else { return "no layer known" }
  return identity.count <= 23 ? identity : "\(identity.prefix(22))…"
}
