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

  @Test("a peer or a mirror that can never be asked is an error that names it, not passed over")
  func unusableAddresses() throws {
    var config = ImageConfig(lowers: [.init(digest: "sha256:" + String(repeating: "5", count: 64), size: 100_000)])
    config.repoBlobURL = "http://127.0.0.1:9/v2/images/test/blobs"
    let cases: [(service: String, words: [String])] = [
      (#"{"p2pConfig": {"enable": true, "address": "localhost:9731"}}"#, ["peerPrefix", "localhost:9731"]),
      (#"{"warmblk": {"hosts": {"r:5000": {"mirrors": ["m:5000"]}}}}"#, ["hosts[r:5000].mirrors", "m:5000"]),
      (#"{"credentialConfig": {"mode": "http", "path": "http:///auth"}}"#, ["credentials", "http:///auth"]),
    ]
    for (service, words) in cases {
      var settings = RemoteSettings(try ServiceConfig.parse(Array(service.utf8), folder: "/etc/overlaybd"))
      settings.cacheFolder = nil
      var text = ""
      do throws(ImageError) { _ = try Image.open(config: config, remote: settings) } catch { text = "\(error)" }
      for word in words { #expect(text.contains(word), "\(service): \(text)") }
    }
  }
}
