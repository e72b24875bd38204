/// Faults by name.
extension TestRegistry.Fault {
  /// An answer with this status and no data.
  public static func status(_ status: Int, _ headers: [(String, String)] = []) -> Self {
    .reply(TestReply(status, headers: headers, body: Array("status \(status)".utf8)))
  }

  /// The connection is reset after so many bytes of the body; negative: before the head.
  public static func reset(after count: Int) -> Self { .change { $1.trouble = (count, .reset) } }

  /// The connection is closed after so many bytes of the body, although more were promised.
  public static func cut(after count: Int) -> Self { .change { $1.trouble = (count, .close) } }

  /// Nothing comes after so many bytes of the body; negative: not even the head.
  public static func stall(after count: Int) -> Self { .change { $1.trouble = (count, .stall) } }

  /// The body comes this slowly.
  public static func slow(bytesPerSecond: Int) -> Self { .change { $1.bytesPerSecond = bytesPerSecond } }

  /// The whole answer comes late.
  public static func delay(_ milliseconds: Int) -> Self { .change { $1.delay += milliseconds } }

  /// Each byte of the body is another one.
  public static var wrongBytes: Self { .change { $1.body = $1.body.map { ~$0 } } }

  /// A complete body that is shorter than its `Content-Range` says.
  public static func shortBody(_ count: Int) -> Self { .change { $1.body = Array($1.body.prefix(count)) } }

  /// Less than was asked for, and `Content-Range` says so.
  public static func part(_ count: Int) -> Self {
    .change { request, reply in
      guard reply.body.count > count, let text = reply.value("Content-Range") else { return }
      let first = text.dropFirst(6).prefix { $0 != "-" }
      let total = text.split(separator: "/").last!
      reply.set("Content-Range", "bytes \(first)-\(Int(first)! + count - 1)/\(total)")
      reply.body = Array(reply.body.prefix(count))
    }
  }

  /// A `Content-Range` that is not what was asked for; nil: none.
  public static func contentRange(_ value: String?) -> Self { .change { $1.set("Content-Range", value) } }

  /// 200 with this blob, whatever range was asked for.
  public static func ignoresRange(_ blob: [UInt8]) -> Self { .reply(TestReply(200, body: blob)) }

  /// A `Content-Encoding` that nobody asked for.
  public static func encoded(_ encoding: String) -> Self {
    .change {
      $1.set("Content-Encoding", encoding)
      $1.body = [0x1f, 0x8b] + $1.body.dropFirst(2)
    }
  }

  /// Sends elsewhere.
  public static func redirect(_ location: String, status: Int = 307) -> Self {
    .reply(TestReply(status, headers: [("Location", location)]))
  }
}

extension TestReply {
  /// The first header of that name.
  public func value(_ name: String) -> String? { headers.first { $0.0 == name }?.1 }

  /// Sets or removes a header.
  public mutating func set(_ name: String, _ value: String?) {
    headers.removeAll { $0.0 == name }
    if let value { headers.append((name, value)) }
  }
}
