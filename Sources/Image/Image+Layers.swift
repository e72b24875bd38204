import BlobStore
import Glibc
import Posix
import Registry
import Synchronization

/// Where the layers of an image are, and how they are opened: those of a registry all at once.
extension Image {
  /// Where the bytes of a layer are.
  enum Place {
    case file(String)
    case remote(BlobLocation)
  }

  /// Threads that open remote layers. Each waits for the network most of the time.
  private static let openersMax = 16

  /// Opens the layers of `config`, bottom to top.
  static func openLayers(_ config: ImageConfig, _ remote: RemoteLayers?) throws(ImageError) -> [Layer.Opened] {
    var places: [Place] = []
    for (number, lower) in config.lowers.enumerated() {
      let place = try config.place(of: lower, number: number)
      if case .remote(let location) = place, remote == nil {
        throw .remoteLayer(name: config.name, field: "lowers[\(number)]", url: location.url)
      }
      places.append(place)
    }
    guard let remote, places.contains(where: \.isRemote) else {
      var opened: [Layer.Opened] = []
      for (place, lower) in zip(places, config.lowers) {
        opened.append(try Layer.open(try place.blob(lower, nil), size: lower.size))
      }
      return opened
    }
    return try openTogether(places, config.lowers, remote)
  }

  private static func openTogether(
    _ places: [Place], _ lowers: [ImageConfig.Lower], _ remote: RemoteLayers
  ) throws(ImageError) -> [Layer.Opened] {
    let results = Mutex<[Int: Result<Layer.Opened, ImageError>]>([:])
    let next = Atomic<Int>(0)
    let finished = OneShot<Bool>()
    @Sendable func work() {
      while true {
        let number = next.add(1, ordering: .relaxed).oldValue
        if number >= places.count { return }
        let result: Result<Layer.Opened, ImageError>
        do throws(ImageError) {
          result = .success(try Layer.open(try places[number].blob(lowers[number], remote), size: lowers[number].size))
        } catch {
          result = .failure(error)
        }
        let count = results.withLock { results in
          results[number] = result
          return results.count
        }
        if count == places.count { finished.set(true) }
      }
    }
    var threads: [Posix.Thread] = []
    do throws(Errno) {
      for _ in 0..<min(places.count, openersMax) { threads.append(try Posix.Thread(name: "opener") { work() }) }
    } catch {
      if threads.isEmpty { throw .system(call: "starting a thread", path: "for a layer", error) }
    }
    // Every read of a layer ends within its own time, so this ends too.
    _ = finished.wait(Deadline(milliseconds: .max / 2_000_000))
    for thread in threads { _ = thread.join(Deadline(milliseconds: 10_000)) }
    var opened: [Layer.Opened] = []
    for number in places.indices {
      opened.append(try results.withLock { results in results[number]! }.get())
    }
    return opened
  }
}

extension Image.Place {
  var isRemote: Bool {
    if case .remote = self { true } else { false }
  }

  /// Opens the blob. Of a remote one its two ends are asked for at once: they hold everything that opening the layer
  /// needs, so that it takes one round trip, or two where the index is very long.
  func blob(_ lower: ImageConfig.Lower, _ remote: RemoteLayers?) throws(ImageError) -> Blob {
    do throws(BlobError) {
      switch self {
      case .file(let path): return try Blob(path: path)
      case .remote(let location):
        guard let remote else { preconditionFailure("a place is remote only where layers may be") }
        // Opening a layer is more than one read.
        let patience = max(remote.settings.ioTimeout, 10_000)
        let size = lower.size == 0 ? nil : lower.size
        if let size { remote.expect(size, of: location.digest) }
        let blob = try remote.store.open(
          location, size: size, folder: lower.dir, deadline: Deadline(milliseconds: patience))
        let source = RemoteSource(blob: blob, store: remote.store, patience: patience)
        source.askForEnds()
        return try Blob(remote: source)
      }
    } catch {
      throw .blob(error)
    }
  }
}

extension RemoteSource {
  /// Headers are in the first chunk. Trailer, jump table (four bytes for 4 KiB of content) and most of the index are in
  /// the last two hundredth of a compressed layer.
  fileprivate func askForEnds() {
    let tail = min(4 << 20, max(128 << 10, blob.size / 200))
    ask(0..<min(blob.size, 1))
    ask(blob.size - min(blob.size, tail)..<blob.size)
  }
}

extension ImageConfig {
  /// Where layer `number` is: a file of this machine, or else a blob of the registry.
  func place(of lower: Lower, number: Int) throws(ImageError) -> Image.Place {
    if let path = try LayerLocation.find(lower) { return .file(path) }
    guard let repoBlobURL, let digest = lower.digest else {
      throw .layerNotFound(
        name: name, field: "lowers[\(number)]", looked: LayerLocation.candidates(for: lower), digest: lower.digest)
    }
    guard BlobLocation.isDigest(digest) else {
      throw .invalid(
        name: name, field: "lowers[\(number)].digest",
        problem: "is \(digest); a digest is sha256: and 64 lower-case hexadecimal digits")
    }
    return .remote(BlobLocation(repoBlobURL: repoBlobURL, digest: digest))
  }
}
