import Posix

extension Traffic {
  /// Begins to grade what becomes of chunks, of which there are so many, unless that has begun.
  mutating func startGrading(chunks: Int) {
    if grading == nil { grading = Grading(chunks: chunks) }
    if gradingBegan == 0 { gradingBegan = monotonicNanoseconds() }
  }

  /// A read waits for these chunks, the first time.
  mutating func grade(waitFor chunks: Range<Int>) {
    grading?.wait(chunks)
    let now = monotonicNanoseconds()
    // One was added at the most; none when it was named, or there are enough.
    while untracedTimes.count < grading?.untracedRuns.count ?? 0 { untracedTimes.append(now) }
  }

  /// What was waited for without having been named, and nanoseconds from the begin of the grading until then.
  var untracedWaits: [(chunks: Range<Int>, nanoseconds: UInt64)] {
    zip(grading?.untracedRuns ?? [], untracedTimes).map { ($0, $1 - min($1, gradingBegan)) }
  }
}

extension BlobStore {
  /// From now on what is waited for of these blobs is untraced, unless a prefetch names it.
  public func startGrading(of blobs: [RemoteBlob]) {
    loop.perform { for blob in blobs { blob.traffic.startGrading(chunks: blob.chunkCount) } }
  }
}
