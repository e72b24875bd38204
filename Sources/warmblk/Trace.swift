import ArgumentParser

struct TraceCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "trace",
    abstract: "Record what is read of a device.",
    discussion: """
      A trace says which parts of an image a workload reads, and in which order; nothing of what they hold.

        warmblk trace start -n 0 -o web.trace
        warmblk trace stop -n 0
      """,
    subcommands: [TraceStart.self, TraceStop.self])
}
