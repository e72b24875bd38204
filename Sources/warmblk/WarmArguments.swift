import ArgumentParser
import Glibc
import Host
import Image
import Posix

/// What a device has at hand when it is handed over.
struct WarmArguments: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "What will be read: a trace of `warmblk trace` or of overlaybd, or reads as text; may be given several times. The image's own trace needs none.",
      valueName: "file"))
  var trace: [String] = []

  @Option(
    help: ArgumentHelp(
      "When the device is handed over: wait, until all that the traces name is on this machine; background, at once, while it is fetched; off, nothing is fetched. Default: background, if there is a trace. --warm without a value: wait.",
      valueName: "off|background|wait"))
  var warm: WarmOptions.Mode?

  @Option(
    help: ArgumentHelp("With --warm=wait: hand it over when so much of it is here.", valueName: "percent"))
  var warmUntil: Percent?

  @Option(
    help: ArgumentHelp("With --warm=wait: hand it over after this time in any case, like 10s.", valueName: "time"))
  var warmDeadline: Duration?

  @Option(
    help: ArgumentHelp(
      "What warm means: blob, the bytes are on this machine; page-cache, they are also decoded in the device's page cache, which the server keeps by holding the device open. Only for who opens the device buffered, like a VM; a mount has caches of its own. Default: blob.",
      valueName: "blob|page-cache"))
  var warmInto: WarmOptions.Level?

  @Option(
    help: ArgumentHelp(
      "Bytes a second that the device may prefetch, like 20M. All devices of the node together: warmblk.prefetchMBps of the service configuration.",
      valueName: "bytes"))
  var prefetchRate: ByteCount?

  func validate() throws {
    if warm != .wait {
      if warmUntil != nil { throw ValidationError("--warm-until is for --warm=wait.") }
      if warmDeadline != nil { throw ValidationError("--warm-deadline is for --warm=wait.") }
    }
    if warm == .off, !trace.isEmpty || warmInto != nil || prefetchRate != nil {
      throw ValidationError("--warm=off prefetches nothing: leave --trace, --warm-into and --prefetch-rate out.")
    }
    if let prefetchRate, prefetchRate.bytes < 1024 {
      throw ValidationError("--prefetch-rate \(prefetchRate.bytes): 1K a second at the least.")
    }
  }

  /// Refuses a trace that cannot be opened: that is a mistake of the command line, not a damaged trace.
  func options() throws(HostError) -> WarmOptions {
    var options = WarmOptions()
    for path in trace {
      do throws(Errno) {
        if try Descriptor.open(path).status().st_mode & S_IFMT == S_IFDIR { throw Errno(rawValue: EISDIR) }
      } catch {
        throw .system(what: "open the trace \(path)", error)
      }
    }
    options.traces = trace.map { absolutePath($0) }
    options.mode = warm
    options.level = warmInto ?? .blob
    options.share = warmUntil?.share ?? 1
    options.deadline = warmDeadline?.milliseconds
    options.bytesPerSecond = prefetchRate?.bytes
    return options
  }
}

extension WarmOptions.Mode: ExpressibleByArgument {}
extension WarmOptions.Level: ExpressibleByArgument {}

/// A part of a whole as people write it: `95%` or `95`.
struct Percent: ExpressibleByArgument {
  /// From 0 to 1.
  let share: Double

  init?(argument: String) {
    guard let number = Double(argument.hasSuffix("%") ? argument.dropLast() : argument[...]), (1...100).contains(number)
    else { return nil }
    share = number / 100
  }
}

extension Warmblk {
  /// `--warm` alone means `--warm=wait`. The parser has options with and without a value, and mistakes some values of one
  /// that may have one. What follows `--` is another program's.
  static func completed(_ words: some Sequence<String>) -> [String] {
    var isOurs = true
    return words.map { word in
      if word == "--" { isOurs = false }
      return isOurs && word == "--warm" ? "--warm=wait" : word
    }
  }
}
