import BlobStore
import Image
import Logging
import Posix
import Registry
import Synchronization

/// Keeps the log and the status file of a device up to date about its remote layers.
///
/// Attempts may fail many times a second; what is logged is at most a few lines a second, and how many more there were.
final class RemoteWatch: Sendable {
  private struct News {
    var lines: [(Logger.Level, String)] = []
    var dropped = 0

    mutating func add(_ level: Logger.Level, _ text: String) {
      if lines.count < RemoteWatch.linesMax { lines.append((level, text)) } else { dropped += 1 }
    }
  }

  /// Lines a second.
  private static let linesMax = 5

  private let remote: RemoteLayers
  private let path: String
  private let news = Mutex(News())
  private let written = Mutex<RemoteStatus?>(nil)

  /// Listens to `remote`; `path` is the status file.
  init(_ remote: RemoteLayers, path: String) {
    self.remote = remote
    self.path = path
    if let problem = remote.cacheProblem {
      news.withLock { $0.add(.warning, "\(problem): remote layers are read without a cache") }
    }
    remote.listen { [weak self] trouble in
      guard let self else { return }
      news.withLock { $0.add(trouble.isRecovery ? .notice : .warning, "\(trouble)") }
    }
    remote.store.listen { [weak self] event in
      guard let self else { return }
      news.withLock { $0.add(event.isTrouble ? .warning : .info, "\(event)") }
    }
  }

  /// Logs what happened since the last call, and writes the status if it changed.
  func report(_ log: Logger) {
    let all = news.withLock { news in
      defer { news = News() }
      return news
    }
    for (level, line) in all.lines { log.log(level: level, "\(line)") }
    if all.dropped > 0 { log.warning("\(all.dropped) more such messages within this second") }
    let status = RemoteStatus(remote)
    let isNew = written.withLock { last in
      defer { last = status }
      return last != status
    }
    if isNew { status.write(path) }
  }
}

extension Trouble {
  fileprivate var isRecovery: Bool {
    if case .recovered = self { true } else { false }
  }
}
