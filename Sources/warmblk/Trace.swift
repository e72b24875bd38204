import ArgumentParser
import Glibc
import Host
import Image
import Posix
import Trace

struct TraceCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "trace",
    abstract: "Record what is read of a device; look at and work on traces.",
    discussion: """
      A trace says which bytes of which layers are read first, in order, and nothing about what is in them.

        warmblk trace start -n 0 -o web.trace   record; `trace stop -n 0` writes it
        warmblk trace show web.trace            how much, when, and a picture
        warmblk trace merge 1 2 3 -o web.trace  several runs as one
        warmblk trace diff old.trace new.trace  what differs, by layer
        warmblk trace grade -n 0 -o 1.json      what of a trace was read, and what it lacked
        warmblk trace trim web.trace 1.json 2.json -o web2.trace
        blkparse -i t | warmblk trace convert - --config image.json -o web.trace
        warmblk trace from-files --config image.json /usr/lib/web/ -o web.trace
      """,
    subcommands: [
      TraceStart.self, TraceStop.self, TraceGrade.self, TraceShow.self, TraceMerge.self, TraceDiff.self, TraceTrim.self,
      TraceConvert.self,
      TraceFromFiles.self, TraceFromEstargz.self,
    ])
}

/// Where a trace is written to.
struct TraceOutput: ParsableArguments {
  @Option(
    name: .shortAndLong,
    help: ArgumentHelp("The file to write; - is standard output.", valueName: "file"))
  var output: String

  @Flag(help: "Replace a file that is there already.")
  var force = false

  /// Refuses what would be in the way, before anything takes time.
  func check() throws(HostError) {
    if output == "-" {
      if isatty(1) == 1 { throw .refused("-o -: standard output is a terminal; name a file, or a program with |") }
    } else if !force, fileExists(output) {
      throw .refused("\(output) is there already: give another name, or --force to replace it")
    }
  }

  /// Writes the file: whole, or not at all.
  func write(_ bytes: [UInt8]) throws(HostError) {
    do throws(Errno) {
      if output == "-" { try writeStandardOutput(bytes) } else { try writeFileAtomically(output, bytes, durable: true) }
    } catch {
      throw .system(what: "writing \(output)", error)
    }
  }

  /// Writes a trace.
  func write(_ trace: AccessTrace) throws(HostError) {
    let bytes: [UInt8]
    do throws(TraceError) { bytes = try trace.encoded() } catch { throw .image(.trace(path: output, error)) }
    try write(bytes)
  }

  /// Says on standard error what was written, where standard output may be the trace.
  func report(_ text: String) { printError(output == "-" ? text : "\(output): \(text)") }
}

/// Reads a trace that names layers: one of ours, also as JSON.
func loadTrace(_ path: String) throws(HostError) -> AccessTrace {
  guard case .accesses(let trace) = try loadSource(path) else {
    throw .refused(
      "\(path): it names no layers by their identity; first make a trace of it with "
        + "'warmblk trace convert \(path) --config image.json'")
  }
  return trace
}

/// Reads a trace of any kind.
func loadSource(_ path: String) throws(HostError) -> TraceSource {
  do throws(ImageError) { return try TraceSource.load(path == "-" ? "/dev/stdin" : path) } catch {
    throw .image(error)
  }
}

/// A time for people: `850 µs`, `12 ms`, `3.25 s`.
func formatMicroseconds(_ microseconds: UInt64) -> String {
  if microseconds < 1000 { return "\(microseconds) µs" }
  if microseconds < 1_000_000 { return "\(microseconds / 1000) ms" }
  let hundredths = "\(microseconds / 10_000 % 100)"
  return "\(microseconds / 1_000_000).\(hundredths.count == 1 ? "0" : "")\(hundredths) s"
}

/// Writes all of `bytes`.
func writeStandardOutput(_ bytes: [UInt8]) throws(Errno) {
  var done = 0
  while done < bytes.count {
    let count = bytes.withUnsafeBytes { Glibc.write(1, $0.baseAddress! + done, $0.count - done) }
    if count >= 0 { done += count } else if Errno.last != .interrupted { throw .last }
  }
}
