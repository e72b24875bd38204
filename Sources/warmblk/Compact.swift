import ArgumentParser
import Host
import Image

struct Compact: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "compact",
    abstract: "Give back the space of what was overwritten.",
    discussion: """
      An upper keeps what is written in the order in which it comes, and what was overwritten stays in its data file:
      `warmblk list` shows it as GARBAGE. This gives its space back to the file system that the file is on, in whole
      blocks of 4 KiB, and shortens the index. By its number of a device that is used meanwhile; by its configuration
      of a disk that is not in use.

        warmblk compact -n 0 --rate 100M
        warmblk compact --config work/image.json

      No data is moved, and the files stay what any reader of the format opens. ^C ends it: what was given back stays
      so. The file system must be able to give back parts of a file (ext4, xfs, btrfs and tmpfs are).
      """)

  @Option(
    name: [.customShort("n"), .customLong("id")], help: ArgumentHelp("The number N of /dev/ublkbN.", valueName: "n"))
  var id: UInt32?

  @Option(help: ArgumentHelp("The image, which has an upper that is not in use.", valueName: "image.json"))
  var config: String?

  @Option(
    help: ArgumentHelp("Give back so many bytes a second at the most: 100M. Default: no limit.", valueName: "size"))
  var rate: ByteCount?

  @Flag(help: "One object: outcome, bytes, entries.")
  var json = false

  @OptionGroup var remote: RemoteArguments

  @OptionGroup var common: CommonOptions

  func validate() throws {
    if (config == nil) == (id == nil) { throw ValidationError("Name a device with -n, or a --config.") }
    if rate?.bytes == 0 { throw ValidationError("--rate 0 would never end.") }
  }

  func run() throws {
    common.installLog()
    let line = ProgressLine("compacting")
    try failing("compact") { () throws(HostError) in
      defer { line.end() }
      let report: Compacting.Report
      if let id {
        report = try Compacting.run(id, bytesPerSecond: rate?.bytes, .standard()) { done, total in
          line.show(Progress(done: done, total: total))
        }
      } else {
        let settings = try remote.settings()
        let result = try imageResult { () throws(ImageError) in
          try Compactor.run(
            config ?? "", bytesPerSecond: rate?.bytes, pendingFolder: RunDirectory.standard().path, remote: settings
          ) { line.show($0) }
        }
        for note in result.notes { printError("warmblk compact: \(note)") }
        report = Compacting.Report(result.report)
      }
      line.end()
      if json {
        try printJSON(report)
      } else {
        print(
          "\(formatBytes(report.freedBytes)) given back, of \(formatBytes(report.deadBytes)) that nothing maps; "
            + "\(report.indexEntriesBefore) entries before, \(report.indexEntriesAfter) now")
      }
      if let problem = report.problem { throw .refused(problem) }
    }
  }
}
