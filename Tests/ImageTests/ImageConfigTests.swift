import Posix
import Testing

@testable import Image

@Suite struct ImageConfigTests {
  private func parse(_ json: String) throws(ImageError) -> ImageConfig {
    try ImageConfig.parse(Array(json.utf8), folder: "/images/one", name: "config.v1.json")
  }

  @Test("every field of a snapshotter's configuration is read")
  func everyField() throws {
    let config = try parse(
      """
      {"repoBlobUrl":"https://registry.example/v2/redis/blobs",
       "lowers":[{"file":"/l/0","dir":"/d/0","digest":"sha256:aa","size":4739584,
                  "targetFile":"/t","targetDigest":"sha256:bb","gzipIndex":"/g"},{"dir":"/d/1"}],
       "upper":{"index":"/u/i","data":"/u/d","target":"/u/t","gzipIndex":"/u/g","vsize":64},
       "resultFile":"/r","accelerationLayer":true,"recordTracePath":"/trace",
       "download":{"enable":true,"delay":600,"delayExtra":30,"maxMBps":100,"tryCnt":5,"blockSize":262144}}
      """)
    #expect(config.repoBlobURL == "https://registry.example/v2/redis/blobs")
    #expect(
      config.lowers == [
        ImageConfig.Lower(
          file: "/l/0", dir: "/d/0", digest: "sha256:aa", size: 4_739_584, targetFile: "/t",
          targetDigest: "sha256:bb", gzipIndex: "/g")
      ])
    #expect(
      config.upper
        == ImageConfig.Upper(index: "/u/i", data: "/u/d", target: "/u/t", gzipIndex: "/u/g", virtualSize: 64))
    #expect(config.resultFile == "/r")
    #expect(config.accelerationLayer == ImageConfig.Lower(dir: "/d/1"))
    #expect(config.recordTracePath == "/trace")
    #expect(config.download?.enable == true && config.download?.blockSize == 262144)
    #expect(try ImageConfig.parse(try config.encoded(), folder: "/") == config)
  }

  @Test("paths count from the configuration's folder, and empty strings are absent")
  func paths() throws {
    let config = try parse(#"{"lowers":[{"file":"l0","dir":"../x"},{"file":"","dir":""}],"resultFile":""}"#)
    #expect(config.lowers[0] == ImageConfig.Lower(file: "/images/one/l0", dir: "/images/one/../x"))
    #expect(config.lowers[1] == ImageConfig.Lower())
    #expect(config.resultFile == nil)
  }

  @Test("unknown keys and nulls are ignored")
  func lenient() throws {
    let config = try parse(#"{"lowers":null,"future":{"a":[1,2]},"upper":{"colour":"red"}}"#)
    #expect(config == ImageConfig(lowers: []))
  }

  @Test(
    "a wrong type is an error that names the key",
    arguments: [
      (#"{"lowers":{}}"#, "lowers"),
      (#"{"lowers":[{"file":"a"},{"file":3}]}"#, "lowers[1].file"),
      (#"{"lowers":[{"size":"12"}]}"#, "lowers[0].size"),
      (#"{"lowers":[{"size":-1}]}"#, "lowers[0].size"),
      (#"{"lowers":[{"size":1e30}]}"#, "lowers[0].size"),
      (#"{"lowers":[{"size":18446744073709551616}]}"#, "lowers[0].size"),
      (#"{"lowers":["a"]}"#, "lowers[0]"),
      (#"{"upper":[]}"#, "upper"),
      (#"{"upper":{"data":false}}"#, "upper.data"),
      (#"{"accelerationLayer":"yes"}"#, "accelerationLayer"),
      (#"{"download":{"enable":1}}"#, "download.enable"),
      (#"{"repoBlobUrl":[]}"#, "repoBlobUrl"),
    ])
  func wrongTypes(json: String, key: String) throws {
    let error = #expect(throws: ImageError.self) { try parse(json) }
    guard case .json("config.v1.json", key, _) = error else {
      Issue.record("\(String(describing: error))")
      return
    }
    #expect(error?.description.contains("`\(key)`") == true)
  }

  @Test(
    "absurd files are errors, never traps",
    arguments: [
      "", " ", "{", "[]", "null", "3", "\"", "{\"lowers\":[", "// no\n{}", "{\"lowers\":[{}]]}",
      String(repeating: "[", count: 100_000), "{\"lowers\":" + String(repeating: "[", count: 100_000),
      String(repeating: "{\"a\":", count: 100_000), "\u{0}\u{0}\u{0}", "nan",
      #"{"lowers":[{"file":"a\u0000b"}]}"#, #"{"lowers":[{"dir":"\u0000"}]}"#, #"{"resultFile":"/\u0000"}"#,
    ])
  func absurd(json: String) {
    let error = #expect(throws: ImageError.self) { try parse(json) }
    #expect(error?.description.hasPrefix("config.v1.json: ") == true)
  }

  @Test("bytes that are not text are an error")
  func notText() {
    for bytes: [UInt8] in [[0xff, 0xfe], [0x7b, 0xff, 0x7d], [0xef, 0xbb, 0xbf], [0x1f, 0x8b, 8, 0]] {
      #expect(throws: ImageError.self) { try ImageConfig.parse(bytes, folder: "/") }
    }
  }

  @Test(
    "fields that change what is read and are not served are errors that name them",
    arguments: [
      (#""upper":{"target":"t"},"lowers":[{"file":"a"}]"#, "upper.target"),
      (#""lowers":[{"file":"a"},{"file":"b","targetFile":"t"}]"#, "lowers[1].targetFile"),
      (#""lowers":[{"file":"a","targetDigest":"t"}]"#, "lowers[0].targetDigest"),
      (#""lowers":[{"file":"a","gzipIndex":"t"}]"#, "lowers[0].gzipIndex"),
    ])
  func refused(json: String, field: String) throws {
    let config = try parse("{\(json)}")
    let error = #expect(throws: ImageError.self) { try Image.open(config: config) }
    guard case .unsupported(_, field, _) = error else {
      Issue.record("\(String(describing: error))")
      return
    }
  }

  @Test("an upper is refused by its name where nobody says what becomes of it", arguments: ["data", "index"])
  func upper(field: String) throws {
    let config = try parse(#"{"upper":{"\#(field)":"x"},"lowers":[{"file":"a"}]}"#)
    let error = #expect(throws: ImageError.self) { try Image.open(config: config) }
    #expect(error?.description.contains("`upper.\(field)`: is a writable layer") == true)
  }

  @Test("fields that change nothing are warnings that name them")
  func warnings() throws {
    let config = try parse(
      #"{"repoBlobUrl":"https://x","download":{"enable":true},"recordTracePath":"t","upper":{"vsize":1}}"#)
    #expect(config.warnings.count == 1 && config.warnings[0].contains("`upper.vsize`"))
    #expect(try parse(#"{"repoBlobUrl":"","upper":{},"download":{"enable":false}}"#).warnings.isEmpty)
  }

  @Test("a trace to replay and one to record cannot both be meant")
  func twoTraces() throws {
    let config = try parse(#"{"lowers":[{"file":"a"},{"dir":"b"}],"accelerationLayer":true,"recordTracePath":"t"}"#)
    do throws(ImageError) {
      try config.requireSupported()
      Issue.record("it was accepted")
    } catch {
      #expect(error.description.contains("recordTracePath") && error.description.contains("accelerationLayer"))
    }
  }

  @Test("an image without layers is an error")
  func noLayers() throws {
    let config = try parse("{}")
    #expect(throws: ImageError.self) { try Image.open(config: config) }
  }

  @Test("a missing file says which and why")
  func missing() {
    let error = #expect(throws: ImageError.self) { try ImageConfig.load("/nonexistent/image.json") }
    #expect(error == .system(call: "reading the image configuration", path: "/nonexistent/image.json", .noEntry))
  }
}
