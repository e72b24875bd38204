import BlobStore
import Posix
import Registry
import Synchronization

/// What brings the remote layers of an image: one connection pool, one store, one cache.
public final class RemoteLayers: Sendable {
  /// What they were made of.
  public let settings: RemoteSettings
  /// Who brings bytes.
  public let store: BlobStore
  /// Why there is no cache although one was asked for; nil otherwise.
  public let cacheProblem: BlobError?
  private let loop: NetworkLoop
  private let client: RegistryClient
  private let trouble = Mutex<Trouble?>(nil)
  private let listener = Mutex<(@Sendable (Trouble) -> Void)?>(nil)

  /// Starts the threads. Must be after the process's last fork.
  public init(_ settings: RemoteSettings) throws(ImageError) {
    self.settings = settings
    // A peer or a mirror that can never be asked would otherwise be passed over without a word.
    do throws(RegistryError) { try settings.registry.check() } catch { throw .blob(.registry(error)) }
    var cache: NodeCache?
    var problem: BlobError?
    if let folder = settings.cacheFolder {
      do throws(BlobError) {
        cache = try NodeCache(path: folder, limit: settings.cacheLimit)
      } catch {
        // One that cannot be used costs speed. One on a disk of ours would cost the disk.
        if case .cacheOnOwnDevice = error { throw .blob(error) }
        problem = error
      }
    }
    cacheProblem = problem
    do throws(RegistryError) { loop = try NetworkLoop(name: "registry") } catch { throw .blob(.registry(error)) }
    client = RegistryClient(loop: loop, settings: settings.registry)
    do throws(BlobError) { store = try BlobStore(cache: cache, origin: client, loop: loop) } catch {
      throw .blob(error)
    }
    loop.perform { [weak self, client] in
      client.onTrouble = { self?.note($0) }
      client.isHasty = true
    }
  }

  /// The layers are open. Until now what was wrong was to be said at once; from here on a disk depends on patience.
  func settle() { loop.perform { [client] in client.isHasty = false } }

  deinit {
    store.stop()
    loop.stop()
  }

  /// The last attempt that failed at a registry; nil when none did, or the host has answered since.
  public var lastTrouble: Trouble? { trouble.withLock { $0 } }

  /// Who is told of each attempt that fails, on the network's thread.
  public func listen(_ listener: @escaping @Sendable (Trouble) -> Void) { self.listener.withLock { $0 = listener } }

  /// An answer for the blob with this digest that names another size is an error, before anything of it is used.
  func expect(_ size: UInt64, of digest: String) { loop.perform { [client] in client.setSize(size, ofDigest: digest) } }

  private func note(_ event: Trouble) {
    trouble.withLock { last in
      if case .recovered = event { last = nil } else { last = event }
    }
    listener.withLock { $0 }?(event)
  }
}

extension Image {
  /// Folders and files that are still opened while the image is served.
  public var pathsNeeded: [String] {
    guard let settings = remote?.settings else { return [] }
    // /etc: names of hosts and the system's certificates.
    return ["/etc", settings.cacheFolder, settings.registry.caFile].compactMap { $0 }
      + settings.registry.credentials.compactMap(\.path) + config.lowers.compactMap(\.dir)
  }
}

extension CredentialSource {
  fileprivate var path: String? {
    switch self {
    case .docker(let path), .file(let path), .unixSocket(let path, _): path
    case .http: nil
    }
  }
}
