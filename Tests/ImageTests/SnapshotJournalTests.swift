import Glibc
import LSMT
import Posix
import TestSupport
import Testing
import UpperLayer

@testable import Image

/// Snapshots that a crash has cut short, and that the next one who opens the image to write to it completes.
@Suite("The journal of a snapshot")
struct SnapshotJournalTests {
  /// How far a snapshot came.
  enum Step: Int, CaseIterable, CustomTestStringConvertible {
    case files, journal, written, sealed, configured, oldIndexGone, done
    var testDescription: String { "\(self)" }
  }

  /// A writable disk with an image of two writes below its upper: what it reads as, by sector.
  private final class Disk {
    let scratch: Scratch
    let config: String
    var model = [UInt8](repeating: 0, count: 512 * 512)
    var run: String { scratch("run") }
    /// Of a server that was killed: what it had open.
    var open: [Upper] = []

    init(isSparse: Bool = false) throws {
      scratch = try Scratch(inMemory: true)
      try makeDirectories(scratch("run"))
      var options = CreateOptions(directory: scratch("disk"), pendingFolder: scratch("run"))
      options.size = 512 * 512
      options.isSparse = isSparse
      config = try UpperCreator.run(options).configPath
    }

    func files(_ folder: String) throws -> UpperFiles {
      try makeDirectories(folder)
      return UpperFiles(data: "\(folder)/upper.data", index: "\(folder)/upper.index")
    }

    func write(_ upper: Upper, _ count: Int, _ random: inout SplitMix) throws {
      for _ in 0..<count {
        let sector = Int.random(in: 0..<500, using: &random)
        let length = Int.random(in: 1...12, using: &random)
        let range = sector * 512..<(sector + length) * 512
        if Int.random(in: 0..<4, using: &random) == 0 {
          try upper.zero(sector: UInt64(sector), sectors: UInt64(length), keepsSpace: false)
          model.replaceSubrange(range, with: repeatElement(0, count: range.count))
        } else {
          let bytes = random.bytes(range.count)
          try bytes.withUnsafeBytes { bytes in
            let piece = UpperWrite(sector: UInt64(sector), bytes: bytes)
            try withUnsafePointer(to: piece) { try upper.write(UnsafeBufferPointer(start: $0, count: 1)) }
          }
          model.replaceSubrange(range, with: bytes)
        }
      }
    }

    /// Makes a snapshot as far as `step`, then the server is killed: nothing is closed.
    func snapshot(until step: Step, newUpper folder: String, _ random: inout SplitMix) throws {
      let named = try #require(try ImageConfig.load(config).upperFiles())
      let old = try Upper.open(
        UpperFiles(data: named.data, index: named.index), pendingFolder: run, defaultVirtualSize: 0)
      open.append(old)
      try write(old, 40, &random)
      let new = try files(folder)
      let uuid = LayerUUID.random()
      try UpperFiles.create(
        data: new.data, index: new.index, kind: .append, virtualSize: old.virtualSize, uuid: uuid,
        parentUUID: old.header.uuid)
      if step == .files { return }
      let journal = try SnapshotJournal(
        config: config, old: old.files, oldUUID: old.header.uuid, new: new, newUUID: uuid)
      try journal.write()
      if step == .journal { return }
      try old.flush()
      let upper = try Upper.open(new, pendingFolder: run, defaultVirtualSize: 0)
      open.append(upper)
      try write(upper, 25, &random)
      if step == .written { return }
      try old.seal()
      try write(upper, 5, &random)
      if step == .sealed { return }
      try old.close()
      try journal.rewriteConfig(layerBytes: old.dataBytes)
      if step == .configured { return }
      #expect(unlink(old.files.index) == 0)
      if step == .oldIndexGone { return }
      try journal.remove()
    }

    /// The kernel closes the files of a killed server.
    func die() { open = [] }

    func read() throws -> [UInt8] {
      let image = try Image.open(configPath: config, upper: .readOnly(pendingFolder: run))
      var reader = ImageReader(image)
      var bytes = [UInt8](repeating: 1, count: model.count)
      try bytes.withUnsafeMutableBytes { try reader.read(into: $0, at: 0) }
      return bytes
    }

    /// Opens the upper as a server does, and closes it: what was pending is in its files then.
    func settle() throws {
      let named = try #require(try ImageConfig.load(config).upperFiles())
      let upper = try Upper.open(
        UpperFiles(data: named.data, index: named.index), pendingFolder: run, defaultVirtualSize: 0)
      try upper.close()
    }
  }

  @Test(
    "wherever a server was killed, completing leaves all that was acknowledged", arguments: Step.allCases,
    [false, true])
  func everyStep(_ step: Step, isFirstSparse: Bool) throws {
    var random = SplitMix.announced("journals of snapshots")
    let disk = try Disk(isSparse: isFirstSparse)
    for round in 0..<6 {
      let folder = round % 2 == 0 ? disk.scratch("disk/\(round)") : disk.scratch("elsewhere/\(round)")
      try disk.snapshot(until: step, newUpper: folder, &random)
      let isBegun = step != .files && step != .done
      #expect(fileExists("\(disk.config).snapshot") == isBegun)
      if isBegun {
        // Whoever only reads would see another disk.
        let error = #expect(throws: ImageError.self) { try disk.read() }
        #expect("\(error!)".contains("completes it first"), "\(error!)")
        #expect("\(error!)".contains("\(disk.config).snapshot"))
      }
      disk.die()
      // A machine that moves the folder meanwhile.
      let notes = try SnapshotJournal.complete(disk.config, pendingFolder: disk.run)
      #expect(notes.last?.contains("completed") ?? false == isBegun, "\(notes)")
      #expect(try SnapshotJournal.complete(disk.config, pendingFolder: disk.run).isEmpty)
      #expect(!fileExists("\(disk.config).snapshot"))
      try disk.settle()
      let config = try ImageConfig.load(disk.config)
      #expect(config.upper.data == (step == .files ? disk.scratch("disk/upper.data") : "\(folder)/upper.data"))
      #expect(config.lowers.count == (step == .files ? 0 : round + 1))
      let bytes = try disk.read()
      let different = stride(from: 0, to: bytes.count, by: 512).first {
        bytes[$0..<$0 + 512] != disk.model[$0..<$0 + 512]
      }
      #expect(different == nil, "\(step), round \(round): byte \(different ?? 0)")
    }
    let left = try listDirectory(disk.run)
    #expect(left.isEmpty, "\(left)")
    let text = String(decoding: try readFile(disk.config), as: UTF8.self)
    if step != .files {
      #expect(text.contains("\"elsewhere/") == false && text.contains("\"0/upper.data\""), "\(text)")
    }
  }

  @Test("refuses to complete with files that are missing or of other layers, and names them")
  func refusals() throws {
    var random = SplitMix.announced("spoilt journals")
    let disk = try Disk()
    try disk.snapshot(until: .written, newUpper: disk.scratch("next"), &random)
    disk.die()
    let new = disk.scratch("next/upper.data")
    let config = try readFile(disk.config)
    let journal = try readFile("\(disk.config).snapshot")
    func refusal(_ words: String) {
      let error = #expect(throws: ImageError.self) {
        try SnapshotJournal.complete(disk.config, pendingFolder: disk.run)
      }
      #expect(error.map { "\($0)".contains(words) } ?? false, "\(words): \(String(describing: error))")
      #expect((try? readFile(disk.config)) == config)
    }
    #expect(rename(new, new + ".away") == 0)
    refusal(new)
    try disk.scratch.write("next/upper.data", [UInt8](repeating: 7, count: 4096))
    refusal("has no header of a layer")
    try UpperFiles.create(
      data: disk.scratch("other"), index: disk.scratch("other.index"), kind: .append, virtualSize: 512 * 512,
      uuid: .random())
    #expect(rename(disk.scratch("other"), new) == 0)
    refusal("is of the layer")
    #expect(rename(new + ".away", new) == 0)
    for text in ["", "{}", #"{"version": 2}"#, String(decoding: journal.prefix(90), as: UTF8.self)] {
      try writeFileAtomically("\(disk.config).snapshot", Array(text.utf8))
      refusal("is no journal")
    }
    try writeFileAtomically("\(disk.config).snapshot", journal)
    #expect(try SnapshotJournal.complete(disk.config, pendingFolder: disk.run).count > 0)
    try disk.settle()
    #expect(try disk.read() == disk.model)
  }

  @Test("is not begun when the configuration names another upper")
  func otherUpper() throws {
    let disk = try Disk()
    let files = try disk.files(disk.scratch("other"))
    let error = #expect(throws: ImageError.self) {
      _ = try SnapshotJournal(
        config: disk.config, old: files, oldUUID: .null, new: files, newUUID: .null)
    }
    #expect(error.map { "\($0)".contains("put the configuration back") } ?? false)
  }

  @Test("an image with one layer more is the one that is opened with it")
  func adding() throws {
    var random = SplitMix.announced("layers that are added")
    let disk = try Disk()
    var image: Image?
    for round in 0..<5 {
      try disk.snapshot(until: .done, newUpper: disk.scratch("disk/\(round)"), &random)
      disk.die()
      try disk.settle()
      var config = try ImageConfig.load(disk.config)
      config.upper = .init()
      let opened = try Image.open(config: config)
      let path = try #require(config.lowers.last?.file)
      let grown = try image.map { try $0.adding(layer: path, config: config) } ?? opened
      image = grown
      #expect(grown.layers.map(\.blob.path) == opened.layers.map(\.blob.path))
      #expect(grown.virtualSize == opened.virtualSize)
      #expect(grown.map.view.count == opened.map.view.count)
      for index in 0..<grown.map.view.count { #expect(grown.map.view[index] == opened.map.view[index]) }
    }
  }
}
