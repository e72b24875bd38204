/// Whether the head of an answer is that to a range, and to which.
///
/// Nothing is believed that the head does not say: bytes are data only when the server names the range that they are.
enum RangeReply: Equatable {
  /// The body is `range` of the blob, after `skip` bytes that nobody asked for; its end may be left unread.
  case data(range: Range<UInt64>, skip: UInt64, totalSize: UInt64?)
  /// The server knows no ranges from the end: ask for `range` by its ends.
  case askAgain(range: Range<UInt64>, totalSize: UInt64)
  /// Not data.
  case wrong(Problem)

  enum Problem: Equatable {
    case wrongRange(String?)
    case rangeIgnored(offset: UInt64, totalSize: UInt64?)
    case outside(totalSize: UInt64?)
    case sizeChanged(expected: UInt64, got: UInt64)
    case encoded(String)
    case multipart
  }

  /// `asked` is a range that is not empty. `knownSize` is the blob's, when somebody has said it. For 200, 206, 416.
  init(_ head: ResponseHead, asked: FetchRange, knownSize: UInt64?, skipLimit: UInt64) {
    if let problem = Self.coding(head) {
      self = .wrong(problem)
      return
    }
    switch head.status {
    case 206: self = Self.partial(head, asked, knownSize)
    case 200: self = Self.whole(head, asked, knownSize, skipLimit)
    default: self = Self.unsatisfied(head, asked, knownSize)
    }
  }

  private static func coding(_ head: ResponseHead) -> Problem? {
    if let encoding = head.contentEncoding, !["", "identity"].contains(encoding.lowercased()) {
      return .encoded(encoding)
    }
    let type = head.contentType?.lowercased() ?? ""
    return type.hasPrefix("multipart/byteranges") ? .multipart : nil
  }

  private static func partial(_ head: ResponseHead, _ asked: FetchRange, _ knownSize: UInt64?) -> RangeReply {
    guard let text = head.contentRange, case .bytes(let got, let total)? = ContentRange(text) else {
      return .wrong(.wrongRange(head.contentRange))
    }
    if let total, let knownSize, total != knownSize { return .wrong(.sizeChanged(expected: knownSize, got: total)) }
    if let length = head.contentLength, length != got.upperBound - got.lowerBound {
      return .wrong(.wrongRange("\(text), but Content-Length: \(length)"))
    }
    let size = total ?? knownSize
    switch asked {
    case .bytes(let range):
      guard got.lowerBound == range.lowerBound, got.upperBound <= range.upperBound else {
        return .wrong(.wrongRange(text))
      }
      if let size, range.upperBound > size { return .wrong(.outside(totalSize: size)) }
      return .data(range: got, skip: 0, totalSize: size)
    case .suffix(let count):
      guard let size, got == tail(count, size) else { return .wrong(.wrongRange(text)) }
      return .data(range: got, skip: 0, totalSize: size)
    }
  }

  private static func whole(
    _ head: ResponseHead, _ asked: FetchRange, _ knownSize: UInt64?, _ skipLimit: UInt64
  ) -> RangeReply {
    let offset: UInt64 = if case .bytes(let range) = asked { range.lowerBound } else { 0 }
    guard let total = head.contentLength else { return .wrong(.rangeIgnored(offset: offset, totalSize: nil)) }
    if let knownSize, total != knownSize { return .wrong(.sizeChanged(expected: knownSize, got: total)) }
    switch asked {
    case .bytes(let range):
      guard range.upperBound <= total else { return .wrong(.outside(totalSize: total)) }
      guard range.lowerBound <= skipLimit else { return .wrong(.rangeIgnored(offset: offset, totalSize: total)) }
      return .data(range: range, skip: range.lowerBound, totalSize: total)
    case .suffix(let count):
      let range = tail(count, total)
      if range.isEmpty { return .wrong(.outside(totalSize: total)) }
      return range.lowerBound == 0
        ? .data(range: range, skip: 0, totalSize: total) : .askAgain(range: range, totalSize: total)
    }
  }

  private static func unsatisfied(_ head: ResponseHead, _ asked: FetchRange, _ knownSize: UInt64?) -> RangeReply {
    guard let text = head.contentRange, case .unsatisfied(let total)? = ContentRange(text) else {
      // Servers without ranges from the end may say so like this.
      if case .suffix(let count) = asked, let knownSize {
        return .askAgain(range: tail(count, knownSize), totalSize: knownSize)
      }
      if case .bytes(let range) = asked, let knownSize, range.upperBound <= knownSize {
        return .wrong(.wrongRange(nil))
      }
      return .wrong(.outside(totalSize: knownSize))
    }
    if let knownSize, total != knownSize { return .wrong(.sizeChanged(expected: knownSize, got: total)) }
    if case .suffix(let count) = asked, total > 0 { return .askAgain(range: tail(count, total), totalSize: total) }
    if case .bytes(let range) = asked, range.upperBound <= total { return .wrong(.wrongRange(text)) }
    return .wrong(.outside(totalSize: total))
  }

  /// The last `count` bytes of `size`.
  static func tail(_ count: Int, _ size: UInt64) -> Range<UInt64> { size - min(size, UInt64(max(0, count)))..<size }
}
