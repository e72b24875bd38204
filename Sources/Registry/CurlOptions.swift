import CCurl

/// Sets options of one request and remembers the first refusal.
struct CurlOptions {
  let handle: UnsafeMutableRawPointer
  let setOption: ccurl_easy_setopt_fn
  private(set) var result = CURLE_OK

  init(handle: UnsafeMutableRawPointer, setOption: ccurl_easy_setopt_fn) {
    self.handle = handle
    self.setOption = setOption
  }

  private mutating func note(_ code: CURLcode) {
    if result == CURLE_OK { result = code }
  }

  mutating func set(_ option: CURLoption, _ value: Int) { note(ccurl_set_long(setOption, handle, option, value)) }

  mutating func set(_ option: CURLoption, _ value: UnsafeRawPointer?) {
    note(ccurl_set_pointer(setOption, handle, option, value))
  }

  /// curl copies the text. nil leaves the option at its default.
  mutating func set(_ option: CURLoption, _ value: String?) {
    guard let value else { return }
    note(value.withCString { ccurl_set_pointer(setOption, handle, option, $0) })
  }

  mutating func setSink(_ option: CURLoption, _ sink: @escaping ccurl_sink_fn) {
    note(ccurl_set_sink(setOption, handle, option, sink))
  }

  mutating func setBeforeRequest(_ body: @escaping ccurl_before_request_fn) {
    note(ccurl_set_before_request(setOption, handle, body))
  }

  /// What no request may do, and what every one does. `.netrc`, HSTS, alternative services and cookies are off unless
  /// they are asked for.
  mutating func setSafeDefaults() {
    set(CURLOPT_NOSIGNAL, 1)
    // A name server that does not answer would otherwise be waited for when a request ends.
    set(CURLOPT_QUICK_EXIT, 1)
    set(CURLOPT_PROTOCOLS_STR, "http,https")
    set(CURLOPT_FOLLOWLOCATION, 0)
    set(CURLOPT_DISALLOW_USERNAME_IN_URL, 1)
    // Signatures are over the path as it was sent.
    set(CURLOPT_PATH_AS_IS, 1)
    // Bytes as they are stored; nil of ACCEPT_ENCODING makes curl say nothing, and then a server may choose.
    set(CURLOPT_ACCEPT_ENCODING, "identity")
    set(CURLOPT_HTTP_CONTENT_DECODING, 0)
    // Headers for the server are not for a proxy that makes a tunnel.
    set(CURLOPT_HEADEROPT, Int(CURLHEADER_SEPARATE))
    set(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1)
    set(CURLOPT_TCP_KEEPALIVE, 1)
  }

  mutating func set(_ proxy: Exchange.Proxy) {
    switch proxy {
    case .environment: break
    case .none: set(CURLOPT_PROXY, "")
    case .address(let address): set(CURLOPT_PROXY, address)
    }
  }

  /// libcurl keeps certificates in memory between connections only when they come from a file and from no folder
  /// besides. With Debian's defaults, both, each connection takes 22 ms to read 140 certificates, and 1.4 ms without the
  /// folder (libcurl 7.88).
  mutating func set(_ tls: Exchange.TLS, hasSystemBundle: Bool) {
    if tls.skipVerify {
      set(CURLOPT_SSL_VERIFYPEER, 0)
      set(CURLOPT_SSL_VERIFYHOST, 0)
    }
    if let file = tls.caFile { set(CURLOPT_CAINFO, file) }
    // With a file of ours, the folder of the system's certificates would be believed too.
    if tls.caFile != nil || hasSystemBundle { set(CURLOPT_CAPATH, UnsafeRawPointer?.none) }
    set(CURLOPT_CA_CACHE_TIMEOUT, 300)
    if let certificate = tls.certificate {
      set(CURLOPT_SSLCERT, certificate.certificateFile)
      set(CURLOPT_SSLKEY, certificate.keyFile ?? certificate.certificateFile)
    }
  }
}
