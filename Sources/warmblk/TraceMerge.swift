import ArgumentParser
import Host
import Image
import Trace

struct TraceMerge: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "merge",
    abstract: "Make one trace of several runs.",
    discussion: """
      Each byte is in it once, at the earliest time that a run touched it, with the number of runs that did. What one run
      read by chance goes with --min-runs:

        warmblk trace merge run1.trace run2.trace run3.trace -o web.trace --min-runs 2

      All must be of the same layers, in the same order; 'warmblk trace convert --config' brings them there. A merged
      trace can be merged again: runs add up.
      """)

  @Argument(help: ArgumentHelp("Traces.", valueName: "trace"))
  var traces: [String]

  @Option(help: ArgumentHelp("Leave out what fewer runs used. Default: 1, keep all.", valueName: "n"))
  var minRuns: UInt32 = 1

  @OptionGroup var output: TraceOutput

  @OptionGroup var common: CommonOptions

  func validate() throws {
    if traces.isEmpty { throw ValidationError("Name traces.") }
    if minRuns == 0 { throw ValidationError("--min-runs 0: it is 1 or more.") }
  }

  func run() throws {
    common.installLog()
    try failing("trace merge") { () throws(HostError) in
      try output.check()
      var loaded: [AccessTrace] = []
      for path in traces { loaded.append(try loadTrace(path)) }
      let runs = loaded.reduce(0) { $0 + UInt64($1.runs) }
      guard minRuns <= runs else {
        throw .refused(
          "--min-runs \(minRuns): the traces are of \(formatCount(Int(runs), "run")) together, so nothing would be left"
        )
      }
      let merged: AccessTrace
      do throws(TraceError) { merged = try AccessTrace.merging(loaded, minRuns: minRuns) } catch {
        if case .differentStacks(let number, _, _) = error { throw .image(.trace(path: traces[number], error)) }
        throw .image(.trace(path: traces[0], error))
      }
      try output.write(merged)
      output.report(
        "\(formatCount(merged.accesses.count, "access", "accesses")) of \(formatCount(Int(merged.runs), "run"))")
    }
  }
}
