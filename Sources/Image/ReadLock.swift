import BlobStore
import Glibc
import Posix

/// Keeps writers off the data file of an upper, and other readers not.
///
/// Let go by hand: a process that is being started has a copy of the descriptor for a moment, and with it the lock.
final class ReadLock: Sendable {
  private let blob: Blob

  /// Locks the file of `blob`, or says who has it.
  init(_ blob: Blob) throws(ImageError) {
    guard flock(blob.fd, LOCK_SH | LOCK_NB) == 0 else {
      let error = Errno.last
      guard error == .again else { throw .system(call: "locking", path: blob.path, error) }
      throw .refused(
        "\(blob.path): this upper is being written by a device: see `warmblk list`, and take the device away with "
          + "`warmblk del` first")
    }
    self.blob = blob
  }

  deinit { _ = flock(blob.fd, LOCK_UN) }
}
