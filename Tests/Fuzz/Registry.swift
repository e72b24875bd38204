@testable import Registry

/// What registries, token servers, helpers and configuration files say.
enum TheFuzzer: Fuzzer {
  static func run(_ input: [UInt8]) { ParserChecks.all(input, require) }

  static func seeds() -> [[UInt8]] {
    let texts = [
      #"Bearer realm="https://auth/t",service="s",scope="repository:a:pull,push", Basic realm=x, Negotiate dG9r=="#,
      "bytes 0-99/100", "bytes */17", "bytes 5-5/*", "HTTP/1.1 206 Partial Content\r\n", "Content-Length: 12\r\n",
      "https://host:5000/v2/a/b/blobs/sha256:00?X-Amz-Date=20260101T000000Z&X-Amz-Expires=300&se=2026-01-01",
      "http://[::1]:80/", "//host/a?b#c", "../x", "https://user:password@host/",
      #"{"auths":{"host":{"auth":"dTpw"},"host/a":{"username":"u","password":"p"}},"credsStore":"x"}"#,
      #"{"auths":{"host":{"identitytoken":"t"},"https://host/v1/":{"registrytoken":"t"}},"credHelpers":{"host":"x"}}"#,
      #"{"token":"\u00e9\ud83d\ude00\n","expires_in":1e2,"a":[true,false,null,-0.5]}"#,
      #"{"ServerURL":"host","Username":"<token>","Secret":"s"}"#,
    ]
    return texts.map { Array($0.utf8) }
  }
}
