/// Bytes on the heap that free themselves.
struct Bytes: ~Copyable {
  let all: UnsafeMutableRawBufferPointer

  init(count: Int) { all = .allocate(byteCount: count, alignment: 4096) }
  deinit { all.deallocate() }

  var count: Int { all.count }
  /// The bytes of `range`.
  func part(_ range: Range<Int>) -> UnsafeMutableRawBufferPointer { .init(rebasing: all[range]) }
}

/// The greatest number of bytes in one step of a copy, a scan or a batch of compressed blocks.
let stepSize = 1 << 20
