import Foundation
import LSMT
import Posix
import TestSupport
import Testing

@testable import UpperLayer

@Suite("Uppers that are refused, and that nothing is done to")
struct RefusalTests {
  /// Opens a layer, which must fail and change no byte of any file, and gives the message.
  private func refusal(_ place: Place, defaultSize: UInt64 = 0, parent: LayerUUID? = nil) throws -> UpperError? {
    let before = try contents(place.scratch.path)
    var refusal: UpperError?
    do throws(UpperError) { _ = try place.open(defaultSize: defaultSize, parent: parent) } catch { refusal = error }
    #expect(try contents(place.scratch.path) == before)
    #expect((try? listDirectory(place.pending)) ?? [] == [])
    return refusal
  }

  private func contents(_ folder: String) throws -> [String: [UInt8]] {
    var result: [String: [UInt8]] = [:]
    for name in try listDirectory(folder) where name != "run" {
      result[name] = (try? readFile("\(folder)/\(name)")) ?? []
    }
    return result
  }

  private func change(_ path: String, at offset: UInt64, _ bytes: [UInt8]) throws {
    let file = try Descriptor.open(path, O_RDWR)
    try bytes.withUnsafeBytes { try file.writeFully($0, at: offset) }
  }

  @Test("One in use, with the process that has it")
  func inUse() throws {
    let place = try Place()
    try place.create()
    let upper = try place.open()
    defer { try? upper.close() }
    do throws(UpperError) {
      _ = try place.open()
      Issue.record("opened twice")
    } catch {
      #expect(error == .inUse(path: place.files.data, pid: getpid()))
      #expect("\(error)".contains("in use by process \(getpid())"))
    }
  }

  @Test("One that was closed, or whose owner is gone, is not in use")
  func unlocked() throws {
    let place = try Place()
    try place.create()
    let upper = try place.open()
    try upper.close()
    let second = try place.open()
    try second.write([(3, sectorsBytes(3, 1, 9))])
  }

  @Test("One whose owner is gone, but not all that had it open, is waited for, a while")
  func unlocking() throws {
    let place = try Place()
    try place.create()
    for (seconds, isWaitedFor) in [("0.2", true), ("3", false)] {
      // The lock is that of a process that has ended: of `flock`.
      _ = try runProgram([
        "sh", "-c", "exec 9<$0; flock -n 9; exec sleep $1 >&- 2>&- &", place.files.data, seconds,
      ])
      let began = monotonicNanoseconds()
      do throws(UpperError) {
        let upper = try place.open()
        #expect(isWaitedFor)
        do throws(Errno) { try upper.close() } catch { Issue.record("\(error)") }
      } catch {
        #expect(!isWaitedFor && error == .inUse(path: place.files.data, pid: nil), "\(error)")
      }
      let took = (monotonicNanoseconds() - began) / 1_000_000
      #expect(took > 20 && took < 2500, "\(took) ms")
    }
  }

  @Test("An image's index file that is not there, a folder, a committed layer, half a header")
  func notUppers() throws {
    let place = try Place()
    try place.create()
    _ = unlink(place.files.index)
    #expect(
      try refusal(place) == .system(call: "opening it for writing", path: place.files.index, .noEntry))
    mkdir(place.files.index, 0o755)
    guard case .system(_, place.files.index, Errno(rawValue: EISDIR)) = try refusal(place) else {
      Issue.record("a folder was taken")
      return
    }
    rmdir(place.files.index)

    let committed = LayerRecord(flags: 7, virtualSize: 1 << 20)
    try place.scratch.write("data", committed.encoded())
    #expect(try refusal(place) == .sealed(path: place.files.data))
    try place.scratch.write("data", Array(committed.encoded().prefix(100)))
    #expect(
      try refusal(place) == .layer(path: place.files.data, .recordTruncated(role: .header, found: 100)))
    try place.scratch.write("data", [UInt8](repeating: 7, count: 8192))
    guard case .layer(place.files.data, .badMagic) = try refusal(place) else {
      Issue.record("no layer was taken")
      return
    }
  }

  @Test("Files of two layers, and files in the wrong place")
  func mixedFiles() throws {
    let place = try Place()
    try place.create()
    try UpperFiles.create(
      data: place.scratch("data2"), index: place.scratch("index2"), kind: .append, virtualSize: 1 << 20,
      uuid: otherUUID)
    _ = unlink(place.files.index)
    rename(place.scratch("index2"), place.files.index)
    #expect(
      try refusal(place)
        == .otherIndex(
          data: place.files.data, uuid: testUUID, index: place.files.index, indexUUID: otherUUID))
    let swapped = UpperFiles(data: place.files.index, index: place.files.data)
    #expect(throws: UpperError.layer(path: place.files.index, .notDataFile(flags: 1))) {
      try Upper.open(swapped, pendingFolder: place.pending, defaultVirtualSize: 0)
    }
    try place.scratch.write("index", [UInt8]())
    #expect(
      try refusal(place)
        == .wrongKind(data: place.files.data, kind: .append, index: place.files.index, indexSize: 0))
  }

  @Test("One that was made for another image; one without a known parent is taken")
  func parents() throws {
    let place = try Place()
    try place.create(parent: otherUUID)
    #expect(
      try refusal(place, parent: testUUID)
        == .otherParent(path: place.files.data, expected: testUUID, found: otherUUID))
    try place.open(parent: .null).close()
    try place.open(parent: otherUUID).close()
    let second = try Place()
    try second.create()
    try second.open(parent: otherUUID).close()
  }

  @Test("A sparse one whose index file has something")
  func sparse() throws {
    let place = try Place()
    try place.create(kind: .sparse)
    try place.scratch.write("index", "entries")
    #expect(
      try refusal(place)
        == .wrongKind(data: place.files.data, kind: .sparse, index: place.files.index, indexSize: 7))
  }

  @Test("One without a size on top of nothing")
  func noSize() throws {
    let place = try Place()
    try place.create(size: 0)
    #expect(try refusal(place) == .noVirtualSize(path: place.files.data))
  }

  @Test("One that is sealed; but not one whose last data only looks like the end of a layer")
  func sealed() throws {
    let place = try Place()
    try place.create()
    let upper = try place.open()
    try upper.write([(0, sectorsBytes(0, 8, 1))])
    let trailer = LayerRecord(flags: 6, indexOffset: 8192, virtualSize: 1 << 20, uuid: otherUUID)
    try upper.write([(8, trailer.encoded())])
    try upper.close()
    let second = try place.open()
    #expect(try read(second, sector: 8, sectors: 8) == trailer.encoded())
    try second.seal()
    try second.close()
    #expect(try refusal(place) == .sealed(path: place.files.data))
  }

  @Test("New files where there are some, or of no whole sectors")
  func creation() throws {
    let place = try Place()
    try place.scratch.write("data", "precious")
    #expect(throws: UpperError.exists(path: place.files.data)) { try place.create() }
    #expect(try listDirectory(place.scratch.path) == ["data"])
    #expect(try readFile(place.files.data) == Array("precious".utf8))
    #expect(throws: UpperError.self) { try place.create(size: 1000) }
  }
}
