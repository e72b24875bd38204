import BlobStore
import Posix
import Registry
import Testing

@testable import Image

struct RemoteOpeningTests {
  @Test(
    "an image whose registry nobody answers for is an error at once, not after the time that reads have",
    arguments: ["http://127.0.0.1:9", "http://registry.invalid"], [nil, 100_000])
  func nobody(_ host: String, _ size: UInt64?) throws {
    let digest = "sha256:" + String(repeating: "5", count: 64)
    var config = ImageConfig(lowers: [.init(digest: digest, size: size), .init(digest: digest, size: size)])
    config.repoBlobURL = "\(host)/v2/images/test/blobs"
    var settings = RemoteSettings()
    settings.cacheFolder = nil
    settings.registry.proxy = ""
    let began = monotonicNanoseconds()
    var text = ""
    do throws(ImageError) { _ = try Image.open(config: config, remote: settings) } catch { text = "\(error)" }
    #expect(text.contains("\(host)/v2/images/test/blobs/\(digest)"), "\(text)")
    // A name server that does not answer takes as long as a connection may.
    #expect(monotonicNanoseconds() - began < 8_000_000_000, "\(text)")
  }
}
