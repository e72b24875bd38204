import ArgumentParser
import Host

struct Metrics: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "metrics",
    abstract: "Print what the devices have done, for Prometheus.",
    discussion: """
      The text format of Prometheus, one family after the other; labels are the device's number and the image. Times
      of reads, writes and flushes are histograms: see `warmblk stats --help` for what is timed. Asks
      no server, so that it answers also when one hangs. For node_exporter's textfile collector:

        warmblk metrics >/var/lib/node_exporter/warmblk.prom.tmp &&
          mv /var/lib/node_exporter/warmblk.prom.tmp /var/lib/node_exporter/warmblk.prom
      """)

  @OptionGroup var common: CommonOptions

  func run() throws {
    common.installLog()
    try failing("metrics") { () throws(HostError) in
      print(try MetricsText.all(.standard()), terminator: "")
    }
  }
}
