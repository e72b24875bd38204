import FoundationEssentials
import Glibc
import Posix
import Testing

/// The program under test.
enum Warmblk {
  /// A device as `warmblk list --json` shows it.
  struct Row: Decodable, Equatable {
    var id: UInt32
    var device: String
    var state: String
    var size: UInt64?
    var image: String?
    var layers: [String]?
    var queues: Int?
    var depth: Int?
    var data: String?
    var pid: Int32?
    var recoveries: Int?
    var requests: UInt64?
    var bytes: UInt64?
    var errors: UInt64?
    var writtenBytes: UInt64?
    var flushes: UInt64?
    var upper: Upper?
    var written: Written?
    var problem: String?
    var remote: Remote?
    var warm: Warm?
    var recording: Recording?
  }

  /// The files of a writable layer.
  struct Upper: Decodable, Equatable {
    var data: String
    var index: String
  }

  /// What is in it.
  struct Written: Decodable, Equatable {
    var pendingEntries: Int
    var dataBytes: UInt64
    var garbageBytes: UInt64
  }

  /// What is being recorded.
  struct Recording: Decodable, Equatable {
    var since: Int64
    var accesses: UInt64
    var bytes: UInt64
    var lost: UInt64
  }

  /// What a device with remote layers says of them.
  struct Remote: Decodable, Equatable {
    struct Counts: Decodable, Equatable {
      var fetchedBytes: UInt64
      var fetches: UInt64
      var repairs: UInt64
      var bypasses: UInt64
      var failures: UInt64
    }
    var counts: Counts
    var cache: String?
    var trouble: String?
  }

  static func start(_ words: [String], variables: [String] = []) throws -> Program {
    try Program([Guest.binary] + words, variables: variables)
  }

  /// Runs a command to its end, which must come.
  @discardableResult
  static func run(_ words: String..., seconds: Double = 60) throws -> Outcome {
    let outcome = try start(words).wait(seconds: seconds)
    #expect(!outcome.wasLate, "\(outcome)")
    return outcome
  }

  /// A device of `config`; `add` prints its path and nothing else.
  static func add(_ config: String, _ words: String...) throws -> Disk {
    try disk(try start(["add", "--config", config] + words).wait(seconds: 60))
  }

  /// The same, where `add` may have something to warn of.
  static func addWarned(_ config: String, _ words: String...) throws -> Disk {
    try disk(try start(["add", "--config", config] + words).wait(seconds: 60), mayWarn: true)
  }

  /// Several devices, made at the same time.
  static func add(each configs: [String]) throws -> [Disk] {
    let programs = try configs.map { try start(["add", "--config", $0]) }
    return try programs.map { try disk(try $0.wait(seconds: 120)) }
  }

  private static func disk(_ outcome: Outcome, mayWarn: Bool = false) throws -> Disk {
    try #require(outcome.succeeded, "\(outcome)")
    #expect(mayWarn || outcome.errors.isEmpty, "\(outcome)")
    let prefix = "/dev/ublkb"
    try #require(outcome.output.hasPrefix(prefix) && outcome.output.hasSuffix("\n"), "\(outcome)")
    let id = try #require(UInt32(outcome.output.dropFirst(prefix.count).dropLast()), "\(outcome)")
    return Disk(id: id)
  }

  /// Takes a device away; it must be possible, and nothing of it stays.
  static func del(_ disk: Disk, _ words: String..., seconds: Double = 45) throws {
    let outcome = try start(["del", "-n", "\(disk.id)"] + words).wait(seconds: seconds)
    try #require(outcome.succeeded, "\(outcome)")
    #expect(!fileExists(disk.path))
    #expect(Guest.stateFiles().allSatisfy { !$0.hasPrefix("\(disk.id).") })
  }

  static func list() throws -> [Row] {
    let outcome = try run("list", "--json")
    try #require(outcome.succeeded, "\(outcome)")
    return try decoded(outcome.output)
  }

  static func decoded<Value: Decodable>(_ text: String) throws -> Value {
    try JSONDecoder().decode(Value.self, from: Data(text.utf8))
  }

  static func row(_ disk: Disk) throws -> Row {
    try #require(try list().first { $0.id == disk.id }, "\(disk.path) is not in the list")
  }

  /// Imports a raw disk; the path of its image.
  static func importing(_ raw: String, to folder: String, _ words: [String]) throws -> String {
    let outcome = try start(["import", raw, "-o", folder] + words).wait(seconds: 60)
    try #require(outcome.succeeded, "\(outcome)")
    return "\(folder)/image.json"
  }
}
