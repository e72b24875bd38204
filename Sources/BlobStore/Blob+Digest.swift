extension Blob {
  /// The sha256 of the whole file, tar included, as ``BlobHash/hexadecimal()``. Reads everything; `progress` is told the
  /// bytes of each step.
  public func sha256(progress: (Int) -> Void = { _ in }) throws(BlobError) -> String {
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4096)
    defer { buffer.deallocate() }
    var hash = BlobHash()
    var offset: UInt64 = 0
    while offset < fileSize {
      let part = UnsafeMutableRawBufferPointer(rebasing: buffer.prefix(Int(clamping: fileSize - offset)))
      try readFile(part, at: offset)
      hash.update(UnsafeRawBufferPointer(part))
      offset += UInt64(part.count)
      progress(part.count)
    }
    return hash.hexadecimal()
  }
}
