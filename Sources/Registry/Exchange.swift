import CCurl
import Glibc
import Posix

/// One HTTP request and its answer, without any following of redirects. Of the loop's thread.
final class Exchange {
  /// What is asked.
  struct Request {
    var url: String
    /// As in `0-99`: without the unit.
    var range: String?
    /// Whole lines.
    var headers: [String] = []
    /// Of a POST; nil for a GET.
    var form: String?
    var userAgent = ""
    var tls = TLS()
    var proxy = Proxy.environment
    /// A socket to connect to instead of the URL's host.
    var unixSocket: String?
    var limits = RegistrySettings.Limits()
  }

  /// Whom to believe, and who we are.
  struct TLS: Equatable {
    var skipVerify = false
    var caFile: String?
    var certificate: ClientCertificate?
  }

  /// How the server is reached.
  enum Proxy: Equatable {
    /// As curl finds it in the environment.
    case environment
    case none
    case address(String)
  }

  /// What to do with a body.
  enum Verdict {
    /// Give it to ``Exchange/onBody``.
    case deliver
    /// Throw it away, so that the connection can be used again, unless it is long.
    case discard
    /// End the exchange.
    case stop
  }

  /// How an exchange ended.
  enum End {
    /// The whole answer is there.
    case complete(ResponseHead)
    /// The callbacks did not want the rest of it.
    case stopped(ResponseHead)
    case failed(CURLcode, words: String)
    case timeout(RegistryError.Phase, milliseconds: Int)
  }

  let request: Request
  private let onHead: (ResponseHead) -> Verdict
  private let onBody: (UnsafeRawBufferPointer) -> Bool
  private var onEnd: ((End) -> Void)?

  var handle: UnsafeMutableRawPointer?
  /// None of the callbacks is called any more.
  var isAbandoned = false
  /// Nanoseconds when it was given to curl, when the request went out, when the head was there; 0: not yet.
  private(set) var startedAt: UInt64 = 0
  private(set) var sentAt: UInt64 = 0
  private(set) var headAt: UInt64 = 0
  /// The head of the answer, when it is complete.
  private(set) var head: ResponseHead?
  /// Bytes of the body so far.
  private(set) var received: UInt64 = 0
  /// What curl says of the connection after the end.
  private(set) var connection = Connection()

  private var parsing = ResponseHead()
  private var verdict = Verdict.discard
  private var wasStopped = false
  private var stall = StallWatch()
  private var lines: UnsafeMutablePointer<curl_slist>?
  private var freeLines: ccurl_slist_free_all_fn?
  private let errorText = UnsafeMutablePointer<CChar>.allocate(capacity: Int(CURL_ERROR_SIZE))

  /// What curl says of the connection.
  struct Connection {
    /// The status with which a proxy refused a tunnel; 0: it did not.
    var tunnelStatus = 0
    /// 2 for HTTP/2.
    var httpVersion = 1
  }

  /// Bytes of an unwanted body that are read so that the connection can be used again.
  private static let discardLimit: UInt64 = 64 << 10

  init(
    _ request: Request, onHead: @escaping (ResponseHead) -> Verdict,
    onBody: @escaping (UnsafeRawBufferPointer) -> Bool, onEnd: @escaping (End) -> Void
  ) {
    self.request = request
    self.onHead = onHead
    self.onBody = onBody
    self.onEnd = onEnd
    errorText.pointee = 0
    errorText.initialize(to: 0)
  }

  deinit {
    freeLines?(lines)
    errorText.deallocate()
  }

  // MARK: Called by the loop

  /// Sets all options; the first one that curl refuses is the result.
  func prepare(_ handle: UnsafeMutableRawPointer, _ curl: Curl) -> CURLcode {
    var options = CurlOptions(handle: handle, setOption: curl.setOption)
    let context = Unmanaged.passUnretained(self).toOpaque()
    options.set(CURLOPT_ERRORBUFFER, UnsafeRawPointer(errorText))
    options.setSafeDefaults()
    options.set(CURLOPT_URL, request.url)
    options.set(CURLOPT_USERAGENT, request.userAgent)
    options.set(CURLOPT_RANGE, request.range)
    options.set(CURLOPT_COPYPOSTFIELDS, request.form)
    options.set(CURLOPT_CONNECTTIMEOUT_MS, max(1, request.limits.connect))
    options.set(CURLOPT_UNIX_SOCKET_PATH, request.unixSocket)
    options.set(request.proxy)
    options.set(request.tls, hasSystemBundle: curl.hasSystemBundle)
    for line in request.headers { lines = curl.listAppend(lines, line) }
    freeLines = curl.listFree
    options.set(CURLOPT_HTTPHEADER, UnsafeRawPointer(lines))
    options.set(CURLOPT_HEADERDATA, context)
    options.set(CURLOPT_WRITEDATA, context)
    options.set(CURLOPT_PREREQDATA, context)
    options.setSink(CURLOPT_HEADERFUNCTION) { bytes, size, count, context in
      Exchange.from(context).receiveHeader(UnsafeRawBufferPointer(start: bytes, count: size * count))
    }
    options.setSink(CURLOPT_WRITEFUNCTION) { bytes, size, count, context in
      Exchange.from(context).receiveBody(UnsafeRawBufferPointer(start: bytes, count: size * count))
    }
    options.setBeforeRequest { context, _, _, _, _ in
      Exchange.from(context).sentAt = monotonicNanoseconds()
      return 0
    }
    self.handle = handle
    startedAt = monotonicNanoseconds()
    return options.result
  }

  /// Asks curl what it knows at the end.
  func collect(_ handle: UnsafeMutableRawPointer, _ curl: Curl) {
    var value = 0
    if ccurl_get_long(curl.getInfo, handle, CURLINFO_HTTP_CONNECTCODE, &value) == CURLE_OK {
      connection.tunnelStatus = value
    }
    if ccurl_get_long(curl.getInfo, handle, CURLINFO_HTTP_VERSION, &value) == CURLE_OK {
      connection.httpVersion = value == 3 ? 2 : 1  // CURL_HTTP_VERSION_2_0
    }
  }

  /// curl is done with it.
  func finish(_ code: CURLcode, _ curl: Curl) {
    if wasStopped {
      end(.stopped(head ?? parsing))
    } else if code == CURLE_OK, let head {
      end(.complete(head))
    } else if code == CURLE_OPERATION_TIMEDOUT && head == nil {
      end(.timeout(.connecting, milliseconds: request.limits.connect))
    } else {
      let text = String(cString: errorText)
      end(.failed(code, words: text.isEmpty ? curl.words(code) : text))
    }
  }

  /// Calls `onEnd`, once.
  func end(_ end: End) {
    let body = onEnd
    onEnd = nil
    body?(end)
  }

  /// Lets go of what the callbacks hold.
  func forget() { onEnd = nil }

  /// The limit that the exchange is over, if any.
  func overdue(_ now: UInt64) -> End? {
    func isOver(_ since: UInt64, _ milliseconds: Int) -> Bool { now > since + UInt64(milliseconds) * 1_000_000 }
    let limits = request.limits
    if headAt != 0 {
      let isStalled = stall.isStalled(now: now, received: received, limits)
      return isStalled ? .timeout(.stalled, milliseconds: limits.stallSeconds * 1000) : nil
    }
    if sentAt != 0 {
      return isOver(sentAt, limits.firstByte) ? .timeout(.firstByte, milliseconds: limits.firstByte) : nil
    }
    // curl has the limit of one connection; it may begin another one when the first cannot be shared.
    let connecting = limits.connect + limits.firstByte
    return isOver(startedAt, connecting) ? .timeout(.connecting, milliseconds: connecting) : nil
  }

  // MARK: Called by curl

  private static func from(_ context: UnsafeMutableRawPointer?) -> Exchange {
    Unmanaged<Exchange>.fromOpaque(context!).takeUnretainedValue()
  }

  /// One line of a head, perhaps not the last head: a proxy's or an interim answer's come before. Also trailers.
  private func receiveHeader(_ line: UnsafeRawBufferPointer) -> Int {
    if isAbandoned { return 0 }
    if head != nil { return line.count }
    guard parsing.add(line) else { return line.count }
    guard !parsing.isInterim else {
      parsing = ResponseHead()
      return line.count
    }
    head = parsing
    headAt = monotonicNanoseconds()
    stall.begin(now: headAt)
    verdict = onHead(parsing)
    if case .discard = verdict, parsing.contentLength ?? 0 > Self.discardLimit { verdict = .stop }
    if case .stop = verdict {
      wasStopped = true
      return 0
    }
    return line.count
  }

  private func receiveBody(_ bytes: UnsafeRawBufferPointer) -> Int {
    if isAbandoned { return 0 }
    received += UInt64(bytes.count)
    switch verdict {
    case .deliver:
      if onBody(bytes) { return bytes.count }
    case .discard:
      if received <= Self.discardLimit { return bytes.count }
    case .stop: break
    }
    wasStopped = true
    return 0
  }
}

/// Finds bodies that come too slowly.
struct StallWatch {
  private var since: UInt64 = 0
  private var before: UInt64 = 0

  mutating func begin(now: UInt64) { since = now }

  /// Whether less than the limit came in the last period, at the end of that period.
  mutating func isStalled(now: UInt64, received: UInt64, _ limits: RegistrySettings.Limits) -> Bool {
    let seconds = UInt64(max(1, limits.stallSeconds))
    guard now >= since + seconds * 1_000_000_000 else { return false }
    let isSlow = received - before < UInt64(max(1, limits.stallBytesPerSecond)) * seconds
    since = now
    before = received
    return isSlow
  }
}
