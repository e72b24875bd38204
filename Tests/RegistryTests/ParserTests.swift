import JSON
import Testing
import TestSupport

@testable import Registry

@Suite struct ParserTests {
  // MARK: Challenges

  @Test("challenges with quoted commas, several of them, token68, and odd spacing")
  func challenges() {
    func parse(_ text: String) -> [Challenge] { Challenge.parse(text) }
    #expect(
      parse(#"Bearer realm="https://auth/token",service="s",scope="repository:a/b:pull,push repository:c:pull""#) == [
        Challenge(
          scheme: "bearer",
          parameters: [
            "realm": "https://auth/token", "service": "s", "scope": "repository:a/b:pull,push repository:c:pull",
          ])
      ])
    #expect(
      parse(#"Negotiate, Basic realm="a \"b\" \\ c" , charset=UTF-8,, Digest qop = "x" ,Negotiate dG9r=="#) == [
        Challenge(scheme: "negotiate"),
        Challenge(scheme: "basic", parameters: ["realm": #"a "b" \ c"#, "charset": "UTF-8"]),
        Challenge(scheme: "digest", parameters: ["qop": "x"]), Challenge(scheme: "negotiate", token68: "dG9r=="),
      ])
    #expect(parse("BASIC") == [Challenge(scheme: "basic")])
    #expect(parse("Bearer REALM=x,realm=y") == [Challenge(scheme: "bearer", parameters: ["realm": "x"])])
    #expect(parse("Basic, Bearer") == [Challenge(scheme: "basic"), Challenge(scheme: "bearer")])
    for text in ["", ",,", "=", "\"", "realm=x", "\u{e9}"] { #expect(parse(text).isEmpty, "\(text)") }
    #expect(parse(#"Bearer realm="unfinished"#) == [Challenge(scheme: "bearer")])
  }

  @Test("what is written as a challenge is read as it")
  func randomChallenges() {
    var random = SplitMix.announced("challenges")
    let names = ["realm", "service", "scope", "error", "charset"]
    for _ in 0..<2_000 {
      var challenges: [Challenge] = []
      for _ in 0..<Int.random(in: 1...3, using: &random) {
        var challenge = Challenge(scheme: ["basic", "bearer", "x-1"].randomElement(using: &random)!)
        for name in names.shuffled(using: &random).prefix(Int.random(in: 1...4, using: &random)) {
          let letters = Array("ab:/,=\"\\ pull?&")
          challenge.parameters[name] = String(
            (0..<Int.random(in: 0...12, using: &random)).map { _ in letters.randomElement(using: &random)! })
        }
        challenges.append(challenge)
      }
      let text = challenges.map { challenge in
        challenge.scheme.uppercased() + " "
          + challenge.parameters.map { name, value in
            let quoted = value.map { "\"\\".contains($0) ? "\\\($0)" : "\($0)" }.joined()
            return "\(name)=\"\(quoted)\""
          }.joined(separator: Bool.random(using: &random) ? "," : " , ")
      }.joined(separator: ", ")
      if Challenge.parse(text) != challenges { Issue.record("\(text)") }
    }
  }

  @Test("no bytes make a parser fail otherwise than by saying so")
  func randomBytes() {
    var random = SplitMix.announced("bytes")
    let seeds = [
      #"Bearer realm="https://a/t",service="s",scope="repository:a:pull,push", Basic realm=x"#, "bytes 0-99/100",
      "bytes */17", #"{"auths":{"h":{"auth":"dTpw"},"h/a":{"username":"u","password":"p"}},"credHelpers":{"h":"x"}}"#,
      "https://host:5000/v2/a/b/blobs/sha256:00?X-Amz-Date=20260101T000000Z&X-Amz-Expires=300&se=2026-01-01",
      "http://[::1]:80/",
      #"{"token":"\u00e9\ud83d\ude00\n","expires_in":1e2,"a":[true,false,null,-0.5]}"#, "//host/a?b#c", "../x",
    ].map { Array($0.utf8) }
    for _ in 0..<20_000 {
      var bytes = seeds.randomElement(using: &random)!
      for _ in 0..<Int.random(in: 1...6, using: &random) {
        let index = Int.random(in: 0...bytes.count, using: &random)
        switch Int.random(in: 0..<4, using: &random) {
        case 0 where index < bytes.count: bytes[index] = UInt8.random(in: 0...255, using: &random)
        case 1 where index < bytes.count: bytes.remove(at: index)
        case 2: bytes.insert(#"{}[]",:\=-/ 0"#.utf8.randomElement(using: &random)!, at: index)
        default: bytes = Array(bytes[..<index]) + seeds.randomElement(using: &random)!.dropFirst(index)
        }
      }
      ParserChecks.all(bytes) { if !$0 { Issue.record("\($1())") } }
    }
  }

  // MARK: Content-Range

  @Test("Content-Range")
  func contentRange() {
    #expect(ContentRange("bytes 0-99/1234") == .bytes(0..<100, totalSize: 1234))
    #expect(ContentRange("Bytes 5-5/*") == .bytes(5..<6, totalSize: nil))
    #expect(ContentRange("bytes */0") == .unsatisfied(totalSize: 0))
    let max = "18446744073709551615"
    for text in [
      "", "bytes", "bytes ", "bytes 0-99", "bytes 5-4/10", "bytes 0-10/10", "bytes -1/10", "bytes 0-/10", "items 0-1/2",
      "bytes */*", "bytes 0-1/+2", "bytes 0-1/2 3", "bytes 0x0-1/2", "bytes 0-\(max)/*", "bytes 0-1/\(max)0",
    ] { #expect(ContentRange(text) == nil, "\(text)") }
  }

  // MARK: Addresses

  @Test("addresses")
  func addresses() {
    let plain = WebAddress("HTTPS://Host.Example/v2/a?x=1#fragment")
    #expect(plain?.url == "https://host.example/v2/a?x=1" && plain?.port == 443)
    #expect(WebAddress("http://h:443")?.url == "http://h:443/")
    #expect(WebAddress("https://h:443/")?.authority == "h")
    #expect(WebAddress("http://[::1]:5000/a")?.authority == "[::1]:5000")
    for text in [
      "", "h", "http:/h", "http://", "http:///a", "http://u@h/", "http://u:p@h/", "http://h:0/", "http://h:65536/",
      "http://h:/", "http://h:1:2/", "http://h\\@evil/", "http://h /", "http://h/\n", "http://h\u{e9}/", "http://[]/",
      "http://[::1/", "http://[evil]/", "ftp://h/", "http://h%2f/", "http://h:8 0/",
    ] { #expect(WebAddress(text) == nil, "\(text)") }
    let base = WebAddress("https://h:1/a/b?q")!
    for (location, url) in [
      ("http://x/y", "http://x/y"), ("//x/y", "https://x/y"), ("/y?z", "https://h:1/y?z"), ("?z", "https://h:1/a/b?z"),
      ("c:d", nil), ("./c:d", "https://h:1/a/./c:d"), ("c", "https://h:1/a/c"), ("", nil),
    ] { #expect(WebAddress(location: location, from: base)?.url == url, "\(location)") }
  }

  // MARK: Signatures

  @Test("the end of signed URLs")
  func signatures() {
    func lifetime(_ query: String, now: UInt64 = 1_767_225_600) -> UInt64 {  // 2026-01-01T00:00:00Z
      SignedURL.lifetime(WebAddress("https://h/x?\(query)")!, now: now)
    }
    #expect(lifetime("X-Amz-Date=20260101T000000Z&X-Amz-Expires=1000&X-Amz-Signature=1") == 970)
    #expect(lifetime("X-Amz-Date=20251231T235000Z&X-Amz-Expires=600") == 0)
    #expect(lifetime("x-goog-date=20260101T000000Z&x-goog-expires=100") == 79)
    #expect(lifetime("x-oss-date=20260101T000000Z&x-oss-expires=100") == 79)
    #expect(lifetime("se=2026-01-01T00%3A10%3A00Z&sig=x") == 570)
    #expect(lifetime("Expires=1767225700&Signature=x") == 79)
    #expect(lifetime("Expires=1&Signature=x") == 0)
    #expect(lifetime("Expires=99999999999999") == 86_400 - 30)
    #expect(lifetime("verify=123-abc") == 300 && lifetime("se=nonsense") == 300)
    #expect(SignedURL.parseTimestamp("2024-02-29T12:34:56Z") == 1_709_210_096)
    #expect(SignedURL.parseTimestamp("2026-13-01") == nil && SignedURL.parseTimestamp("99999999T999999Z") == nil)
  }

  // MARK: Configurations

  @Test("upstream's cred.json: the first entry that fits, in the file's order")
  func credFile() throws {
    let url = WebAddress("https://reg.example/v2/a/b/blobs/sha256:00")!
    func find(_ auths: String) throws -> Credentials.Secret? {
      CredentialList.find(try #require(JSONValue(Array(#"{"auths":{\#(auths)}}"#.utf8))), for: url)
    }
    let wide = #""reg.example":{"auth":"dTpw"}"#
    let narrow = #""reg.example/a/b":{"username":"v","password":"q"}"#
    #expect(try find("\(wide),\(narrow)") == .password(user: "u", "p"))
    #expect(try find("\(narrow),\(wide)") == .password(user: "v", "q"))
    #expect(try find(#""reg.example/a":{"auth":"!!!"},\#(wide)"#) == .password(user: "u", "p"))
    #expect(try find(#""reg.example/a/b/c":{"auth":"dTpw"},"reg":{"auth":"dTpw"}"#) == nil)
    #expect(try find(#""https://reg.example":{"auth":"dTpw"}"#) == nil, "keys have no scheme")
  }

  @Test("Docker's config.json: helpers before auths, long names before short ones, Docker Hub's other name")
  func dockerConfig() throws {
    func steps(_ text: String, _ host: String = "reg.example:5000") throws -> [DockerConfig.Step] {
      let url = try #require(WebAddress("https://\(host)/v2/a/b/blobs/sha256:00"))
      return DockerConfig.steps(try #require(JSONValue(Array(text.utf8))), for: url)
    }
    let up = Credentials.Secret.password(user: "u", "p")
    #expect(try steps(#"{"auths":{"https://reg.example:5000/v2/":{"auth":"dTpw"}}}"#) == [.found(up)])
    #expect(
      try steps(#"{"auths":{"reg.example:5000":{"auth":"eDp5"},"reg.example:5000/a":{"auth":"dTpw"}}}"#) == [.found(up)]
    )
    #expect(
      try steps(#"{"credsStore":"all","auths":{"reg.example:5000":{"auth":"dTpw"}}}"#)
        == [.helper(program: "all", server: "reg.example:5000"), .found(up)])
    #expect(
      try steps(#"{"credsStore":"all","credHelpers":{"reg.example:5000":"one"}}"#)
        == [.helper(program: "one", server: "reg.example:5000")])
    #expect(try steps(#"{"credHelpers":{"reg.example":"one"}}"#).isEmpty, "another port is another registry")
    #expect(
      try steps(#"{"auths":{"https://index.docker.io/v1/":{"auth":"dTpw"}}}"#, "registry-1.docker.io") == [.found(up)])
    #expect(try steps(#"{"auths":{"reg.example:5000":{"auth":"!!!"}}}"#).isEmpty)
  }

  @Test("base64, both alphabets, with and without padding")
  func base64() {
    var random = SplitMix.announced("base64")
    for count in 0..<100 {
      let bytes = (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }
      let text = encodeBase64(bytes)
      #expect(decodeBase64(text) == bytes)
      #expect(decodeBase64(text.filter { $0 != "=" }) == bytes)
      #expect(decodeBase64(String(text.map { $0 == "+" ? "-" : $0 == "/" ? "_" : $0 })) == bytes)
    }
    for text in ["=", "a", "a===", "ab!c", "====="] { #expect(decodeBase64(text) == nil, "\(text)") }
  }

  @Test("JSON: what is one value, and nothing else")
  func json() {
    #expect(
      JSONValue(Array(#" {"b":1,"a":[{}, [],"\u00e9\ud83d\ude00"],"b":2} "#.utf8))?.members?.map(\.key) == [
        "b", "a", "b",
      ])
    #expect(JSONValue(Array(#""\ud83d\ude00""#.utf8))?.string == "😀")
    #expect(JSONValue(Array("300.7".utf8))?.integer == 300 && JSONValue(Array("-1".utf8))?.integer == nil)
    let deep = String(repeating: "[", count: 100) + String(repeating: "]", count: 100)
    for text in ["", "{", "[1,]", "{\"a\"}", "01", "1.", "\"\u{1}\"", "\"\\ud800\"", "nul", "1 2", "{a:1}", deep] {
      #expect(JSONValue(Array(text.utf8)) == nil, "\(text)")
    }
  }

  @Test("errors show no signature and no password")
  func secrets() {
    for (url, shown) in [
      ("https://h/a?sig=SECRET", "https://h/a?…"), ("https://u:SECRET@h/a", "https://…@h/a"), ("u:SECRET@h", "…@h"),
      ("https://h/a#SECRET", "https://h/a?…"), ("https://h/a", "https://h/a"), ("https://a@SECRET@h/", "https://…@h/"),
    ] { #expect(withoutSecrets(url) == shown) }
  }
}
