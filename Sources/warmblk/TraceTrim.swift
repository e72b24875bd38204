import ArgumentParser
import Host
import Image
import Trace

struct TraceTrim: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "trim",
    abstract: "Drop from a trace what was never used, and add what was missed.",
    discussion: """
      Reports, of `trace grade`, are what prefetching says of itself: which bytes it brought for nothing, and which were read that no trace had
      named. What is wasted in all of the reports is dropped, or in as many as --wasted-in says; what is untraced in any
      is added.

        warmblk trace trim web.trace report1.json report2.json report3.json -o web2.trace
      """)

  @Argument(help: ArgumentHelp("The trace.", valueName: "trace"))
  var trace: String

  @Argument(help: ArgumentHelp("Reports, JSON.", valueName: "report"))
  var reports: [String]

  @Option(help: ArgumentHelp("Drop what so many reports call wasted. Default: all of them.", valueName: "n"))
  var wastedIn: Int?

  @OptionGroup var output: TraceOutput

  @OptionGroup var common: CommonOptions

  func validate() throws {
    if reports.isEmpty { throw ValidationError("Name reports.") }
    if let wastedIn, !(1...reports.count).contains(wastedIn) {
      throw ValidationError("--wasted-in \(wastedIn): 1 to \(reports.count), the number of reports.")
    }
  }

  func run() throws {
    common.installLog()
    try failing("trace trim") { () throws(HostError) in
      try output.check()
      let before = try loadTrace(trace)
      var loaded: [GradeReport] = []
      for path in reports {
        loaded.append(try imageResult { () throws(ImageError) in try GradeReport.load(path) })
      }
      let trimming: Trimming
      do throws(TraceError) {
        trimming = try before.trimmed(by: loaded, wastedIn: wastedIn ?? loaded.count)
      } catch {
        throw .image(.trace(path: trace, error))
      }
      try output.write(trimming.trace)
      output.report(
        "\(formatBytes(trimming.dropped)) dropped, \(formatBytes(trimming.added)) added, "
          + "\(formatCount(trimming.trace.accesses.count, "access", "accesses")) left")
    }
  }
}
