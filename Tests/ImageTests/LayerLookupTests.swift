import Glibc
import Posix
import Testing
import TestSupport

@testable import Image

@Suite struct LayerLookupTests {
  @Test("`file` comes first, then the names in `dir` in their order")
  func order() throws {
    let scratch = try Scratch()
    let lower = ImageConfig.Lower(file: scratch("blob"), dir: scratch.path)
    var expected: [String] = []
    for name in ["overlaybd.sealed", ".commit", "overlaybd.commit", "blob"] {
      expected.insert(try scratch.write(name, []), at: 0)
      #expect(try LayerLocation.find(lower) == expected.first)
    }
    #expect(LayerLocation.candidates(for: lower) == expected)
  }

  @Test("without `dir` nothing is looked for in the root folder")
  func noRoot() throws {
    #expect(LayerLocation.candidates(for: ImageConfig.Lower(digest: "sha256:x")).isEmpty)
    #expect(LayerLocation.candidates(for: ImageConfig.Lower(file: "/f")) == ["/f"])
  }

  @Test("a layer without a file is an error that names it, its digest and where it was looked for")
  func remote() throws {
    let digest = "sha256:" + String(repeating: "a", count: 64)
    var config = ImageConfig(lowers: [ImageConfig.Lower(dir: "/nowhere", digest: digest, size: 7)])
    func failure() -> String {
      #expect(throws: ImageError.self) { try Image.open(config: config) }?.description ?? ""
    }
    for part in ["lowers[0]", digest, "/nowhere/overlaybd.commit", "/nowhere/.commit", "repoBlobUrl"] {
      #expect(failure().contains(part), "\(part) in: \(failure())")
    }
    config.repoBlobURL = "https://registry.example/v2/x/blobs"
    for part in ["lowers[0]", "https://registry.example/v2/x/blobs/\(digest)"] {
      #expect(failure().contains(part), "\(part) in: \(failure())")
    }
    config.lowers[0].digest = "sha256:abc"
    #expect(failure().contains("lowers[0].digest"))
  }

  @Test("the first that exists is used or is an error: the next one is not tried")
  func noFallback() throws {
    let scratch = try Scratch()
    try scratch.write(".commit", [UInt8](repeating: 7, count: 9000))
    try makeDirectories(scratch("overlaybd.commit"))
    let config = ImageConfig(lowers: [ImageConfig.Lower(dir: scratch.path)])
    let error = #expect(throws: ImageError.self) { try Image.open(config: config) }
    #expect(error == .blob(.notRegularFile(path: scratch("overlaybd.commit"))))
  }

  @Test("a pipe in a layer's place is an error, not a wait")
  func pipe() throws {
    let scratch = try Scratch()
    #expect(mkfifo(scratch("pipe"), 0o600) == 0)
    let config = ImageConfig(lowers: [ImageConfig.Lower(file: scratch("pipe"))])
    #expect(throws: ImageError.blob(.notRegularFile(path: scratch("pipe")))) { try Image.open(config: config) }
  }
}
