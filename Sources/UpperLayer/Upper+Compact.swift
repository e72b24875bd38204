import Posix

extension Upper {
  /// Gives the space of overwritten data back to the host's file system (whole pages of 4096 bytes), and writes the index
  /// file anew without entries that later ones replaced. The layer is used meanwhile; no data is moved, and the files
  /// remain what any reader of the format takes. One call at a time, not on a thread that serves the device.
  ///
  /// All that was acknowledged is flushed first. Then `waitForReaders` is called once: it must return true as soon as all
  /// reads have ended that had looked something up in ``index`` before the call, or false when it gives up; then nothing is
  /// given back. Writes that are under way when it begins are waited for until `writersDeadline`.
  ///
  /// At most `bytesPerSecond` bytes are given back in a second, nil is as fast as it goes. `shouldGoOn` is called with every
  /// step, at least ten times a second while it waits; false ends it there. ``close()`` and ``seal()`` end it too.
  ///
  /// A crash at any step loses nothing: what is given back is in no entry that could come into force again. Throws when the
  /// flush fails, for a sparse layer, which has no garbage, and when the file system cannot give back parts of a file (`EOPNOTSUPP`), and `EBUSY` while another call runs.
  public func compact(
    bytesPerSecond: UInt64? = nil, writersDeadline: Deadline = Deadline(milliseconds: 30_000),
    waitForReaders: () -> Bool, shouldGoOn: (CompactionProgress) -> Bool = { _ in true }
  ) throws(UpperError) -> CompactionReport {
    guard let append else { throw .sparse(path: files.data) }
    return try describing { () throws(UpperChangeError) in
      try append.compact(
        bytesPerSecond: bytesPerSecond, writersDeadline: writersDeadline, waitForReaders: waitForReaders,
        shouldGoOn: shouldGoOn)
    }
  }
}
