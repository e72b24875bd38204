import FoundationEssentials
import Posix

/// What a command asks of a device's server through its socket, `N.sock`: one line of JSON, `{"stopRecording":{}}`.
enum ControlRequest: Codable, Equatable {
  /// Record what is read from now on. The folder of the trace comes along as a descriptor: the server has a mount table
  /// of its own, in which the command's paths may mean something else.
  case startRecording(plan: RecordingPlan)
  /// End the recording, write the trace, and say what is in it.
  case stopRecording
  /// Write what became of what was prefetched to a file at `path`, whose folder comes along as a descriptor.
  case grade(path: String)
  /// Close the disk, which the server may hold open for its page cache: somebody wants to take it away.
  case releaseDisk
  /// Answer what is under way, and end without taking the disk away: a new server takes it over.
  case handOver

  /// Give the disk more bytes; of the new ones, make these sectors zeroes: first sectors and counts by turns.
  case grow(bytes: UInt64, hidden: [UInt64])

  /// Make the upper a layer, and go on with a new one: `path` is its data file, whose folder comes along as a descriptor.
  case snapshot(path: String)

  /// Give back the space of what was overwritten, so many bytes a second at the most. Lines say how far it is, before the
  /// last one. It ends when who asked for it hangs up.
  case compact(bytesPerSecond: UInt64?)

  /// The names, for those who ask for another.
  static let names = [
    "startRecording", "stopRecording", "grade", "releaseDisk", "handOver", "grow", "snapshot", "compact",
  ]
}

/// The answer, one line of JSON.
enum ControlReply: Codable, Equatable {
  /// It was done.
  case done
  /// A recording has ended.
  case recorded(report: RecordingReport)
  /// A report is written: bytes that were brought and not read, and bytes that were waited for and not named.
  case graded(wasted: UInt64, untraced: UInt64)
  /// How far it is; more follows.
  case progress(done: UInt64, total: UInt64)
  /// A snapshot was made.
  case snapshot(report: Snapshots.Report)
  /// Space was given back.
  case compacted(report: Compacting.Report)
  /// It was not done, and why.
  case failed(message: String)
}

/// Lines of JSON.
enum ControlLine {
  /// Bytes that a line may have: paths are the longest part of it.
  static let bytesMax = 32 << 10

  static func encode(_ message: some Encodable) throws(HostError) -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    do {
      return try [UInt8](encoder.encode(message)) + [UInt8(ascii: "\n")]
    } catch {
      throw .refused("a message for the control socket cannot be written: \(error)")
    }
  }

  /// The request in a line; why it is none, for whoever sent it.
  static func request(_ line: [UInt8]) throws(HostError) -> ControlRequest {
    do {
      return try JSONDecoder().decode(ControlRequest.self, from: Data(line))
    } catch {
      let shown = String(decoding: line.prefix(80), as: UTF8.self)
      throw .refused(
        "this server does not know the request \(shown): it knows \(ControlRequest.names.joined(separator: ", ")); "
          + "a device that another version of warmblk has made is best asked by that version")
    }
  }

  /// The reply in a line.
  static func reply(_ line: String) throws(HostError) -> ControlReply {
    do {
      return try JSONDecoder().decode(ControlReply.self, from: Data(line.utf8))
    } catch {
      throw .refused("the server's answer is not understood: \(line.prefix(80)); is it of another version of warmblk?")
    }
  }
}
