import Image

/// Both configurations: what parses can be written and parses to the same again.
enum TheFuzzer: Fuzzer {
  static func run(_ input: [UInt8]) {
    do throws(ImageError) {
      let config = try ImageConfig.parse(input, folder: "/folder")
      _ = config.warnings
      for lower in config.lowers {
        let paths = [lower.file, lower.dir, lower.targetFile].compactMap(\.self)
        require(paths.allSatisfy { $0.hasPrefix("/") && !$0.utf8.contains(0) }, "a relative path: \(lower)")
      }
      let again = try ImageConfig.parse(try config.encoded(), folder: "/elsewhere")
      require(again == config, "written and parsed again it is \(again) instead of \(config)")
    } catch {
      require(!error.description.isEmpty, "an error without words")
    }
    do throws(ImageError) {
      _ = try ServiceConfig.parse(input, folder: "/folder").warnings
    } catch {
      require(!error.description.isEmpty, "an error without words")
    }
  }

  static func seeds() -> [[UInt8]] {
    let texts = [
      "{}", #"{"lowers":[]}"#, #"{"lowers":[{"file":"layer"},{"dir":"/folder"}]}"#,
      #"""
      {"repoBlobUrl":"https://registry.example/v2/name/blobs","lowers":[{"file":"a/layer.tar","digest":"sha256:00",
       "size":18446744073709551615,"dir":"","targetFile":"t","targetDigest":"sha256:11","gzipIndex":"g"}],
       "upper":{"index":"i","data":"d","target":"t","gzipIndex":"g","vsize":64},"resultFile":"result",
       "download":{"enable":true,"delay":-1,"delayExtra":30,"maxMBps":100,"tryCnt":5,"blockSize":262144},
       "accelerationLayer":true,"recordTracePath":"\u0041\ud83d\ude00\\\"\n"}
      """#,
      #"""
      {"registryFsVersion":"v2","ioEngine":1,"enableThread":false,"workpoolSize":4,"enableAudit":true,"auditPath":"a",
       "logConfig":{"logLevel":1,"logPath":"l","logSizeMB":10,"logRotateNum":3},"logLevel":1,"logPath":"/l",
       "cacheConfig":{"cacheType":"file","cacheDir":"c","cacheSizeGB":4,"refillSize":262144,"blockSize":4096},
       "gzipCacheConfig":{"enable":true,"cacheDir":"g","cacheSizeGB":4,"refillSize":1048576},"userAgent":"u",
       "credentialConfig":{"mode":"file","path":"p","timeout":1,"client_cert_path":"c","client_key_path":"k",
       "server_ca_path":"s"},"p2pConfig":{"enable":false,"address":"http://localhost:1"},"certConfig":{"certFile":"c",
       "keyFile":"k"},"exporterConfig":{"enable":true,"uriPrefix":"/m","port":9863,"updateInterval":60000000},
       "prefetchConfig":{"concurrency":16},"serviceConfig":{"enable":true,"address":"http://127.0.0.1:9862"}}
      """#,
    ]
    return texts.map { Array($0.utf8) }
  }
}
