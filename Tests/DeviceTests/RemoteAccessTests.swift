import Glibc
import Posix
import Testing

extension OnDevice {
  struct RemoteAccessTests {
    @Test(
      "a registry behind TLS with a private CA and a password: with both an image is served, without either refused")
    func privateRegistry() throws {
      _ = try RemoteSample.registry()
      let sample = try RemoteSample.stack()
      let scratch = try Scratch()
      try need("htpasswd", "-cbB", "-C", "4", scratch("users"), "reader", "secret")
      // Everything but the names and the door is the same: the shared registry's blobs, pushed to this one.
      let registry = try Registry(port: 5001, users: scratch("users"))
      let door = try TLSDoor(to: registry.port, at: 5443, in: scratch)
      let layers = try registry.push([scratch.copy(try Sample.layerFile(.lz4))], credentials: "reader:secret")
      let image = RemoteSample(raw: sample.raw, layers: layers)
      let config = try image.config(scratch, url: "https://127.0.0.1:5443/v2/images/test/blobs")
      // "reader:secret"
      try scratch.write("docker.json", #"{"auths": {"127.0.0.1:5443": {"auth": "cmVhZGVyOnNlY3JldA=="}}}"#)
      try scratch.write("nobody.json", #"{"auths": {}}"#)
      try scratch.write("torn.pem", "-----BEGIN CERTIFICATE-----\n")
      func service(_ name: String, ca: String?, docker: String) throws -> String {
        let ca = ca.map { #""caFile": "\#($0)", "# } ?? ""
        return try scratch.write(name, #"{"warmblk": {\#(ca)"dockerConfig": "\#(docker)"}}"#)
      }
      let good = try service("good.json", ca: door.authority, docker: scratch("docker.json"))
      let disk = try Warmblk.add(config, "--service-config", good, "--cache", scratch("cache"))
      let content = try sample.content()
      try disk.reading(direct: true) { try $0.compare(with: content, "behind TLS") }
      try Warmblk.del(disk)

      let cases: [(service: String, words: [String])] = [
        (try service("no-ca.json", ca: nil, docker: scratch("docker.json")), ["certificate"]),
        (try service("absent.json", ca: scratch("absent.pem"), docker: scratch("docker.json")), ["absent.pem"]),
        (try service("torn.json", ca: scratch("torn.pem"), docker: scratch("docker.json")), ["torn.pem"]),
        (try service("nobody-service.json", ca: door.authority, docker: scratch("nobody.json")), ["401"]),
      ]
      for (service, words) in cases {
        let outcome = try Warmblk.run(
          "add", "--config", config, "--service-config", service, "--cache", scratch("other"))
        #expect(outcome.status == 1 && outcome.seconds < 5, "\(outcome)")
        for word in words + [layers[0].digest, "https://127.0.0.1:5443/"] {
          #expect(outcome.errors.contains(word), "\(word): \(outcome)")
        }
        #expect(LeavingNothing.leftovers.isEmpty)
        print("\(outcome.seconds) s: \(outcome.errors)", terminator: "")
      }
    }
  }
}
