import LSMT
import Posix

extension Inspector {
  /// A file that begins like JSON.
  mutating func inspectConfig() throws(ImageError) {
    let bytes: [UInt8]
    do throws(Errno) { bytes = try readFile(result.path, limit: ImageConfig.sizeLimit) } catch {
      throw .system(call: "reading", path: result.path, error)
    }
    let keys = try decodeJSON(TopLevelKeys.self, bytes, name: result.path).names
    if !keys.isDisjoint(with: ["lowers", "upper", "repoBlobUrl", "resultFile", "recordTracePath"]) {
      result.kind = .imageConfig
      try inspectStack(try ImageConfig.load(result.path))
    } else if !keys.isDisjoint(with: TopLevelKeys.ofService) {
      result.kind = .serviceConfig
      result.notes += try ServiceConfig.load(result.path).warnings
    } else {
      result.notes.append("JSON, but neither an image configuration nor a service configuration")
    }
  }

  private mutating func inspectStack(_ config: ImageConfig) throws(ImageError) {
    result.notes += config.warnings
    var stack = Inspection.Stack()
    for (number, lower) in config.lowers.enumerated() {
      var layer = Inspection.StackLayer()
      layer.digest = lower.digest
      do throws(ImageError) {
        switch try config.place(of: lower, number: number) {
        case .file(let path):
          layer.inspection = Inspector.inspect(path, verify: verifies, progress: progress)
          check(lower, layer.inspection!)
        case .remote(let location): layer.remote = location.url
        }
      } catch {
        report(error)
      }
      result.findings += layer.inspection?.findings ?? []
      stack.layers.append(layer)
    }
    if let data = config.upper.data {
      var layer = Inspection.StackLayer()
      layer.isUpper = true
      var inspector = Inspector(path: data, verify: verifies, pendingFolder: pendingFolder, progress: progress)
      inspector.indexPath = config.upper.index
      inspector.run()
      layer.inspection = inspector.result
      result.findings += inspector.result.findings
      stack.layers.append(layer)
    }
    if stack.layers.contains(where: { $0.remote != nil }) {
      result.notes.append("layers in a registry are not looked at; `warmblk export` reads all of them")
      result.image = stack
      return
    }
    noteChain(stack.layers.map(\.inspection))
    do throws(ImageError) {
      let image = try Image.open(config: config, upper: .asItIs)
      stack.virtualSize = image.virtualSize
      stack.segments = image.map.segmentCount
      for (number, usage) in image.map.usage.enumerated() {
        stack.layers[number].visibleDataBytes = usage.dataSectors * UInt64(sectorSize)
        stack.layers[number].visibleZeroedBytes = usage.zeroedSectors * UInt64(sectorSize)
      }
    } catch {
      // What is wrong with a layer has been said already.
      if !result.findings.contains(where: { $0.message == error.description }) { report(error) }
    }
    result.image = stack
  }

  /// What the configuration says of a layer's file.
  private mutating func check(_ lower: ImageConfig.Lower, _ inspection: Inspection) {
    if let size = lower.size, size > 0, size != inspection.fileSize {
      report(.sizeMismatch(path: inspection.path, expected: size, found: inspection.fileSize))
    }
    guard let digest = lower.digest, let sha256 = inspection.sha256, digest != "sha256:\(sha256)" else { return }
    add(
      file: inspection.path, expected: digest, found: "sha256:\(sha256)",
      message: "\(inspection.path): the configuration says \(digest), the file has sha256:\(sha256)")
  }

  /// Points out layers that were made on another one than they lie on. Overlaybd does not check that, and merging does
  /// not need it, so it is no finding.
  private mutating func noteChain(_ layers: [Inspection?]) {
    for (number, layer) in layers.enumerated() {
      guard let parent = (layer?.trailer ?? layer?.header)?.parentUUID, parent != LayerUUID.null.description else {
        continue
      }
      if number == 0 {
        result.notes.append("layer 0 was made on layer \(parent), which is not there")
      } else if let below = layers[number - 1]?.trailer?.uuid, below != parent {
        let isUpper = layer?.upper != nil
        result.notes.append(
          "\(isUpper ? "the upper" : "layer \(number)") was made on layer \(parent), but lies on \(below)"
            + (isUpper && below != LayerUUID.null.description ? ": it will not be opened for writing" : ""))
      }
    }
  }
}

/// The keys of a JSON object, whatever their values.
private struct TopLevelKeys: Decodable {
  struct Key: CodingKey {
    let stringValue: String
    var intValue: Int? { nil }
    init?(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
  }
  let names: Set<String>

  init(from decoder: any Decoder) throws {
    names = Set(try decoder.container(keyedBy: Key.self).allKeys.map(\.stringValue))
  }

  static let ofService: Set<String> = [
    "registryFsVersion", "ioEngine", "enableThread", "workpoolSize", "enableAudit", "auditPath", "logConfig",
    "logLevel",
    "logPath", "cacheConfig", "cacheType", "registryCacheDir", "registryCacheSizeGB", "gzipCacheConfig",
    "credentialConfig", "credentialFilePath", "download", "p2pConfig", "exporterConfig", "prefetchConfig", "certConfig",
    "userAgent", "serviceConfig", "warmblk",
  ]
}
