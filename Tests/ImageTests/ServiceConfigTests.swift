import Registry
import Testing

@testable import Image

@Suite struct ServiceConfigTests {
  private func parse(_ json: String) throws(ImageError) -> ServiceConfig {
    try ServiceConfig.parse(Array(json.utf8), folder: "/etc/overlaybd")
  }

  @Test("every field is read, and those that are set are named as having no effect")
  func everyField() throws {
    let config = try parse(
      """
      {"registryFsVersion":"v2","ioEngine":1,"enableThread":true,"workpoolSize":8,"enableAudit":true,
       "auditPath":"/a","logConfig":{"logLevel":1,"logPath":"log","logSizeMB":10,"logRotateNum":3},
       "logLevel":1,"logPath":"/l","cacheConfig":{"cacheType":"file","cacheDir":"/c","cacheSizeGB":4,
       "refillSize":262144,"blockSize":65536},"cacheType":"file","registryCacheDir":"/rc",
       "registryCacheSizeGB":4,"gzipCacheConfig":{"enable":true,"cacheDir":"/g","cacheSizeGB":4,
       "refillSize":1048576},"credentialConfig":{"mode":"https","path":"https://x","timeout":1,
       "client_cert_path":"/cc","client_key_path":"/ck","server_ca_path":"/ca"},
       "credentialFilePath":"cred.json","download":{"enable":true},"p2pConfig":{"enable":true,
       "address":"http://localhost:9731/accelerator"},"exporterConfig":{"enable":true,
       "uriPrefix":"/metrics","port":9863,"updateInterval":60000000},"prefetchConfig":{"concurrency":16},
       "certConfig":{"certFile":"/cf","keyFile":"/kf"},"userAgent":"x","serviceConfig":{"enable":true,
       "address":"http://127.0.0.1:9862"},"unheardOf":1}
      """)
    #expect(config.credentialFilePath == "/etc/overlaybd/cred.json")
    #expect(config.logConfig?.logPath == "/etc/overlaybd/log")
    #expect(config.credentialConfig?.serverAuthority == "/ca")
    #expect(config.credentialConfig?.path == "https://x")
    let idle = [
      "registryFsVersion", "ioEngine", "enableThread", "workpoolSize", "enableAudit", "auditPath", "logConfig",
      "logLevel", "logPath", "cacheConfig.refillSize", "cacheConfig.blockSize", "gzipCacheConfig",
      "exporterConfig", "prefetchConfig", "serviceConfig",
    ]
    for field in idle { #expect(config.warnings.count { $0.hasPrefix("`\(field)`") } == 1, "\(field)") }
    #expect(config.warnings.count == idle.count, "\(config.warnings)")
  }

  @Test("what it says of registries and the cache is what is done")
  func remote() throws {
    let settings = RemoteSettings(
      try parse(
        """
        {"cacheConfig":{"cacheDir":"/c","cacheSizeGB":3},"userAgent":"me","certConfig":{"certFile":"/cf"},
         "credentialConfig":{"mode":"http","path":"http://h/auth","timeout":7},
         "p2pConfig":{"enable":true,"address":"http://localhost:1/p"},"download":{"enable":true,"delay":9},
         "warmblk":{"ioTimeout":12,"onTimeout":"wait","caFile":"ca.pem","proxy":"","dockerConfig":"/d",
          "hosts":{"r:5000":{"mirrors":["http://m"],"skipVerify":true,"keyFile":"/k","certFile":"c"}}}}
        """))
    #expect(settings.cacheFolder == "/c/warmblk" && settings.cacheLimit == 3 << 30)
    #expect(settings.ioTimeout == 12_000 && settings.waitsForever)
    #expect(settings.download?.delay == 9)
    let registry = settings.registry
    #expect(registry.userAgent == "me" && registry.caFile == "/etc/overlaybd/ca.pem" && registry.proxy == "")
    #expect(registry.clientCertificate == .init(certificateFile: "/cf"))
    #expect(registry.peerPrefix == "http://localhost:1/p")
    #expect(
      registry.credentials == [
        .http(url: "http://h/auth", seconds: 7, caFile: nil, clientCertificate: nil), .docker(path: "/d"),
      ])
    let host = try #require(registry.hosts["r:5000"])
    #expect(host.mirrors == ["http://m"] && host.skipTLSVerify && !host.allowPlainRedirects)
    #expect(host.clientCertificate == .init(certificateFile: "/etc/overlaybd/c", keyFile: "/k"))
    for json in [#"{"warmblk":{"onTimeout":"hope"}}"#, #"{"warmblk":{"ioTimeout":0}}"#] {
      #expect(throws: ImageError.self) { try parse(json) }
    }
    let plain = RemoteSettings(try parse("{}"))
    #expect(plain.cacheFolder == RemoteSettings.standardCacheFolder && plain.ioTimeout == 30_000 && !plain.waitsForever)
    #expect(plain.registry.credentials.first == .file(path: "/opt/overlaybd/cred.json"))
  }

  @Test("each of upstream's modes for credentials becomes its source, and a path without a mode is named as idle")
  func credentials() throws {
    func source(_ fields: String) throws -> CredentialSource? {
      RemoteSettings(try parse(#"{"credentialConfig":{\#(fields)}}"#)).registry.credentials.first
    }
    #expect(try source(#""mode":"file","path":"cred.json""#) == .file(path: "/etc/overlaybd/cred.json"))
    #expect(try source(#""mode":"uds","path":"/s","timeout":3"#) == .unixSocket(path: "/s", seconds: 3))
    let files = #""client_cert_path":"c","client_key_path":"k","server_ca_path":"a""#
    let certificate = ClientCertificate(certificateFile: "/etc/overlaybd/c", keyFile: "/etc/overlaybd/k")
    #expect(
      try source(#""mode":"https","path":"https://h/auth",\#(files)"#)
        == .http(url: "https://h/auth", seconds: 1, caFile: "/etc/overlaybd/a", clientCertificate: certificate))
    let idle = try parse(#"{"credentialConfig":{"path":"/cred.json"}}"#)
    #expect(RemoteSettings(idle).registry.credentials.first == .file(path: "/opt/overlaybd/cred.json"))
    #expect(idle.warnings.count == 1 && idle.warnings[0].hasPrefix("`credentialConfig.path`"), "\(idle.warnings)")
  }

  @Test("what is switched off is not worth a warning")
  func off() throws {
    let config = try parse(
      """
      {"enableThread":false,"enableAudit":false,"download":{"enable":false,"delay":3},"p2pConfig":{"enable":false},
       "exporterConfig":{"enable":false},"gzipCacheConfig":{"enable":false},"serviceConfig":{"enable":false}}
      """)
    #expect(config.warnings.isEmpty)
    #expect(try parse("{}") == ServiceConfig())
  }

  @Test(
    "values with which nothing works are errors that name the field",
    arguments: [
      (#"{"ioEngine":3}"#, "ioEngine"), (#"{"ioEngine":"psync"}"#, "ioEngine"),
      (#"{"cacheConfig":{"refillSize":5000}}"#, "cacheConfig.refillSize"),
      (#"{"cacheConfig":{"refillSize":0}}"#, "cacheConfig.refillSize"),
      (#"{"gzipCacheConfig":{"refillSize":12288}}"#, "gzipCacheConfig.refillSize"),
      (#"{"cacheConfig":{"cacheType":"disk"}}"#, "cacheConfig.cacheType"),
      (#"{"credentialConfig":{"mode":"ftp"}}"#, "credentialConfig.mode"),
      (#"{"credentialConfig":{"mode":"file"}}"#, "credentialConfig.path"),
      (#"{"credentialConfig":{"mode":"uds","path":""}}"#, "credentialConfig.path"),
      (#"{"credentialConfig":{"mode":"http"}}"#, "credentialConfig.path"),
      (#"{"credentialConfig":{"mode":"http","path":"/run/auth.socket"}}"#, "credentialConfig.path"),
      (#"{"credentialConfig":{"mode":"https","path":"http://h/auth"}}"#, "credentialConfig.path"),
      (#"{"registryFsVersion":"v3"}"#, "registryFsVersion"),
      (#"{"exporterConfig":{"port":70000}}"#, "exporterConfig.port"),
      (#"{"credentialConfig":{"client_key_path":1}}"#, "credentialConfig.client_key_path"),
    ])
  func invalid(json: String, field: String) {
    let error = #expect(throws: ImageError.self) { try parse(json) }
    #expect(error?.description.contains("`\(field)`") == true, "\(String(describing: error))")
  }
}
