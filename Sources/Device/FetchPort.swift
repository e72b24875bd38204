import BlobStore
import Glibc
import Posix

/// Where a queue's wants go to the store; of their ends it hears in its mailbox. Only what is not here takes this way, so
/// it may lock and allocate.
final class FetchPort: Sendable {
  private let sources: [RemoteSource?]
  private let ioTimeout: Int
  private let waitsForever: Bool
  private let mailbox: Mailbox

  /// `sources` are the layers', bottom first; nil for files of this machine. `ioTimeout`: milliseconds that a read may
  /// take, unless it `waitsForever`.
  init(sources: [RemoteSource?], ioTimeout: Int, waitsForever: Bool, mailbox: Mailbox) {
    self.sources = sources
    self.ioTimeout = ioTimeout
    self.waitsForever = waitsForever
    self.mailbox = mailbox
  }

  func want(layer: Int, offset: UInt64, count: UInt32, operation: UInt32, damaged: BlobView.Lease?) {
    guard let source = sources[layer] else { return post(operation, -EIO) }
    let range = offset..<offset + UInt64(count)
    let deadline = waitsForever ? nil : Deadline(milliseconds: ioTimeout)
    let completion: @Sendable (BlobError?) -> Void = { error in self.post(operation, error.map { -$0.code } ?? 0) }
    if let damaged {
      source.store.repair(source.blob, range, damaged, deadline: deadline, completion: completion)
    } else {
      source.store.want(source.blob, range, .demand, deadline: deadline, completion: completion)
    }
  }

  private func post(_ operation: UInt32, _ result: Int32) {
    mailbox.post(Event(.fetched, operation, result: result))
  }
}

extension BlobError {
  /// The error number that stands for it in a queue's counters.
  fileprivate var code: Int32 {
    switch self {
    case .timedOut: ETIMEDOUT
    case .stopped: ESHUTDOWN
    case .cache(_, _, let errno), .read(_, _, _, let errno): errno.rawValue
    default: EIO
    }
  }
}
