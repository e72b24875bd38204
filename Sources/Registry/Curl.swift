import CCurl
import Glibc

/// The functions of libcurl, looked up in `libcurl.so.4` when the first ``NetworkLoop`` is made.
///
/// Linking libcurl costs each start of a program 3.5 ms (4.1 ms instead of 0.6 ms for one that does nothing, with the
/// 32 libraries of Debian 12), also of those that never speak to a registry.
///
/// Unchecked: Swift sees the variadic functions as opaque pointers. None of them ever changes.
struct Curl: @unchecked Sendable {
  let easyInit: ccurl_easy_init_fn
  let easyCleanup: ccurl_easy_cleanup_fn
  let easyReset: ccurl_easy_reset_fn
  let easyError: ccurl_easy_strerror_fn
  let setOption: ccurl_easy_setopt_fn
  let getInfo: ccurl_easy_getinfo_fn
  let listAppend: ccurl_slist_append_fn
  let listFree: ccurl_slist_free_all_fn
  let date: ccurl_getdate_fn

  /// Whether there is a file of the system's certificates where libcurl looks for one, so that their folder is not
  /// needed too.
  let hasSystemBundle: Bool

  let multiInit: ccurl_multi_init_fn
  let multiCleanup: ccurl_multi_cleanup_fn
  let multiSetOption: ccurl_multi_setopt_fn
  let multiAdd: ccurl_multi_add_handle_fn
  let multiRemove: ccurl_multi_remove_handle_fn
  let multiPerform: ccurl_multi_perform_fn
  let multiPoll: ccurl_multi_poll_fn
  let multiWakeup: ccurl_multi_wakeup_fn
  let multiInfo: ccurl_multi_info_read_fn
  let multiError: ccurl_multi_strerror_fn

  /// Loaded and initialized once in the life of the process.
  static func loaded() throws(RegistryError) -> Curl { try shared.get() }

  private static let shared: Result<Curl, RegistryError> = {
    do throws(RegistryError) { return .success(try Curl()) } catch { return .failure(error) }
  }()

  /// 7.87, for `CURLOPT_QUICK_EXIT`: without it the end of a transfer waits for the name server.
  private static let oldest: UInt32 = 0x07_57_00

  private init() throws(RegistryError) {
    guard let library = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL) else {
      throw .library(problem: String(cString: dlerror()))
    }
    func find<Function>(_ name: String, as type: Function.Type = Function.self) throws(RegistryError) -> Function {
      guard let symbol = dlsym(library, name) else { throw .library(problem: "libcurl.so.4 lacks \(name)") }
      return unsafeBitCast(symbol, to: type)
    }
    let version: ccurl_version_info_fn = try find("curl_version_info")
    if let info = version(CURLVERSION_FIRST), info.pointee.version_num < Self.oldest {
      throw .library(problem: "libcurl.so.4 is \(String(cString: info.pointee.version)), and must be 7.87 or later")
    }
    easyInit = try find("curl_easy_init")
    easyCleanup = try find("curl_easy_cleanup")
    easyReset = try find("curl_easy_reset")
    easyError = try find("curl_easy_strerror")
    setOption = try find("curl_easy_setopt")
    getInfo = try find("curl_easy_getinfo")
    listAppend = try find("curl_slist_append")
    listFree = try find("curl_slist_free_all")
    date = try find("curl_getdate")
    let initialize: ccurl_global_init_fn = try find("curl_global_init")
    let code = initialize(Int(CURL_GLOBAL_SSL | CURL_GLOBAL_WIN32))
    if code != CURLE_OK { throw .library(problem: "curl_global_init: \(String(cString: easyError(code)!))") }
    hasSystemBundle = Self.systemBundle(easyInit, easyCleanup, getInfo).map { access($0, R_OK) == 0 } ?? false
    multiInit = try find("curl_multi_init")
    multiCleanup = try find("curl_multi_cleanup")
    multiSetOption = try find("curl_multi_setopt")
    multiAdd = try find("curl_multi_add_handle")
    multiRemove = try find("curl_multi_remove_handle")
    multiPerform = try find("curl_multi_perform")
    multiPoll = try find("curl_multi_poll")
    multiWakeup = try find("curl_multi_wakeup")
    multiInfo = try find("curl_multi_info_read")
    multiError = try find("curl_multi_strerror")
  }

  /// `CURLINFO_CAINFO` (7.84).
  private static func systemBundle(
    _ easyInit: ccurl_easy_init_fn, _ easyCleanup: ccurl_easy_cleanup_fn, _ getInfo: ccurl_easy_getinfo_fn
  ) -> String? {
    guard let handle = easyInit() else { return nil }
    defer { easyCleanup(handle) }
    var path: UnsafeMutablePointer<CChar>?
    guard ccurl_get_string(getInfo, handle, CURLINFO_CAINFO, &path) == CURLE_OK else { return nil }
    return path.map { String(cString: $0) }
  }

  /// What a code means, in curl's words.
  func words(_ code: CURLcode) -> String { String(cString: easyError(code)!) }

  /// The same of the multi interface.
  func words(_ code: CURLMcode) -> String { String(cString: multiError(code)!) }
}

extension Curl {
  /// An HTTP date as seconds since 1970.
  func seconds(_ text: String) -> UInt64? {
    let time = date(text, nil)
    return time >= 0 ? UInt64(time) : nil
  }
}

/// Seconds since 1970, by this machine's clock.
func wallClockSeconds() -> UInt64 { UInt64(max(0, time(nil))) }
