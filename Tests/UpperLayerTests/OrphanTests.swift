import Glibc
import Posix
import TestSupport
import Testing

@testable import UpperLayer

@Suite("Logs of layers that are gone")
struct OrphanTests {
  /// A layer in a folder in memory, whose file system knows files by their handles; all have one folder for logs.
  private let scratch = try! Scratch(inMemory: true)
  private var pending: String { scratch("run") }

  private func files(_ name: String) throws -> UpperFiles {
    let files = UpperFiles(data: scratch("\(name).data"), index: scratch("\(name).index"))
    if !fileExists(files.data) {
      try UpperFiles.create(
        data: files.data, index: files.index, kind: .append, virtualSize: 1 << 20, uuid: testUUID, parentUUID: .null)
    }
    return files
  }

  /// Opens a layer and leaves it without an end, as a killed process does; its log.
  private func leave(_ name: String) throws -> String {
    let before = Set((try? listDirectory(pending)) ?? [])
    let upper = try Upper.open(try files(name), pendingFolder: pending, defaultVirtualSize: 0)
    try upper.write([(0, sectorsBytes(0, 4, 1))])
    let added = Set(try listDirectory(pending)).subtracting(before)
    return "\(pending)/\(try #require(added.first))"
  }

  /// What opening another layer removes.
  private func removed() throws -> [String] {
    let upper = try Upper.open(try files("another"), pendingFolder: pending, defaultVirtualSize: 0)
    try upper.close()
    return upper.removedLogs
  }

  private static let knowsHandles: Bool = {
    guard let scratch = try? Scratch(inMemory: true), let path = try? scratch.write("file", ""),
      let file = try? Descriptor.open(path), let folder = try? Descriptor.open(scratch.path, O_RDONLY | O_DIRECTORY)
    else { return false }
    return FileHandle(file)?.exists(on: folder) ?? false
  }()

  @Test(
    "are removed by who opens another layer, but never one of a file that may be somewhere", .enabled(if: knowsHandles))
  func removal() throws {
    let (gone, moved, replaced, live) = (
      try leave("gone"), try leave("moved"), try leave("replaced"), try leave("live")
    )
    #expect(try removed().isEmpty)
    #expect(unlink(scratch("gone.data")) == 0)
    #expect(rename(scratch("moved.data"), scratch("moved.away")) == 0)
    #expect(rename(try scratch.write("new", "another file"), scratch("replaced.data")) == 0)
    let lines = try removed()
    #expect(lines.count == 2 && lines.allSatisfy { $0.contains("the log of 1 pending index entries") }, "\(lines)")
    #expect(lines.contains { $0.contains(scratch("gone.data")) })
    #expect(!fileExists(gone) && !fileExists(replaced))
    #expect(fileExists(moved) && fileExists(live))
    // The layer that was moved has all that it had.
    let away = UpperFiles(data: scratch("moved.away"), index: scratch("moved.index"))
    let upper = try Upper.open(away, pendingFolder: pending, defaultVirtualSize: 0)
    #expect(try upper.recovery.replayedEntries == 1 && read(upper, sector: 0, sectors: 4) == sectorsBytes(0, 4, 1))
    try upper.close()
  }

  @Test("stay while a process has the file open, and are removed then", .enabled(if: knowsHandles))
  func open() throws {
    let log = try leave("open")
    do {
      let file = try Descriptor.open(scratch("open.data"))
      #expect(unlink(scratch("open.data")) == 0)
      #expect(try removed().isEmpty && fileExists(log), "\(file.rawValue)")
    }
    #expect(try removed().count == 1 && !fileExists(log))
  }

  @Test("stay where it cannot be told: without a path, in a folder that another file system has taken, unfinished")
  func unknown() throws {
    let log = try leave("gone")
    #expect(unlink(scratch("gone.data")) == 0)
    let file = try Descriptor.open(log, O_RDWR)
    func put(_ bytes: [UInt8], at offset: UInt64) throws {
      try bytes.withUnsafeBytes { try file.writeFully($0, at: offset) }
    }
    try put([0, 0, 0, 0], at: 280)
    #expect(try removed().isEmpty)
    try put([1, 0, 0, 0], at: 280)
    try put([0xff, 0xff, 0xff, 0xff], at: 284)
    #expect(try removed().isEmpty)
    let path = Array("/proc/absent/gone.data".utf8)
    try put([UInt8(path.count), 0, 0, 0], at: 284)
    try put(path, at: 512)
    #expect(try removed().isEmpty)
    try put([0], at: 0)
    #expect(try removed().isEmpty)
    try file.truncate(to: 100)
    #expect(try removed().isEmpty && fileExists(log))
  }

  @Test("say where the file was when it was opened last")
  func origins() throws {
    let path = try scratch.write("data", "x")
    let file = try Descriptor.open(path)
    let known = PendingLog.Origin(file, path: path)
    let origin = try #require(known)
    #expect(origin.path == path)
    let header = UnsafeMutableRawPointer.allocate(byteCount: PendingLog.headerBytes, alignment: 4096)
    defer { header.deallocate() }
    header.initializeMemory(as: UInt8.self, repeating: 0, count: PendingLog.headerBytes)
    #expect(PendingLog.Origin(at: header) == nil)
    origin.store(at: header)
    header.storeBytes(of: PendingLog.Origin.form, toByteOffset: 280, as: UInt32.self)
    #expect(PendingLog.Origin(at: header) == origin)
    for path in ["data", "/" + String(repeating: "x", count: PendingLog.Origin.pathBytesMax)] {
      let origin = PendingLog.Origin(file, path: path)
      #expect(origin == nil)
    }
  }
}
