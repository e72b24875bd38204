import ArgumentParser
import Host

struct Doctor: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "doctor",
    abstract: "Say whether this machine can have devices, and what to do if not.",
    discussion: """
      Looks at the kernel and its known defects, the driver, io_uring, limits and udev. Makes no device and loads no
      module, so it is safe on a kernel that would crash. Run it as root. Exit code 0: ready; 1: not ready.

        warmblk doctor || modprobe ublk_drv
      """)

  @Flag(help: "One object.")
  var json = false

  @Flag(help: "Also each feature of the driver and what it gives here.")
  var features = false

  @OptionGroup var common: CommonOptions

  func run() throws {
    common.installLog()
    let diagnosis = Diagnosis.make()
    try failing("doctor") { () throws(HostError) in
      if json { return try printJSON(diagnosis) }
      printReport(diagnosis)
    }
    if !diagnosis.ready { throw ExitCode.failure }
  }

  private func printReport(_ diagnosis: Diagnosis) {
    print(formatTable(diagnosis.checks.map { [$0.status.rawValue, $0.name, $0.found] }))
    if features, !diagnosis.features.isEmpty {
      print("\nFeatures of the driver:")
      print(
        formatTable(diagnosis.features.map { [$0.offered ? "yes" : "no", $0.name, $0.since, $0.effect] }))
    }
    let remedies = diagnosis.checks.filter { $0.remedy != nil && $0.status == .failed }
    let hints = diagnosis.checks.filter { $0.remedy != nil && $0.status == .note }
    for check in hints { print("hint: \(check.name): \(check.remedy ?? "")") }
    for check in remedies { print("to do: \(check.name): \(check.remedy ?? "")") }
    print(diagnosis.ready ? "ready" : "not ready")
  }
}
