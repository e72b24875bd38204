// libcurl as Swift sees it: the types of its functions, which are looked up in libcurl.so.4 at run time, and its
// variadic functions with one type each. No logic and no state.
//
// Not linked: a program that is started for a glance at a layer should not load the thirty libraries behind libcurl.
#pragma once

#include <curl/curl.h>

typedef CURLcode (*ccurl_global_init_fn)(long flags);
typedef curl_version_info_data *(*ccurl_version_info_fn)(CURLversion);
typedef time_t (*ccurl_getdate_fn)(const char *text, const time_t *unused);

typedef CURL *(*ccurl_easy_init_fn)(void);
typedef void (*ccurl_easy_cleanup_fn)(CURL *);
typedef void (*ccurl_easy_reset_fn)(CURL *);
typedef const char *(*ccurl_easy_strerror_fn)(CURLcode);
typedef CURLcode (*ccurl_easy_setopt_fn)(CURL *, CURLoption, ...);
typedef CURLcode (*ccurl_easy_getinfo_fn)(CURL *, CURLINFO, ...);
typedef struct curl_slist *(*ccurl_slist_append_fn)(struct curl_slist *, const char *);
typedef void (*ccurl_slist_free_all_fn)(struct curl_slist *);

typedef CURLM *(*ccurl_multi_init_fn)(void);
typedef CURLMcode (*ccurl_multi_cleanup_fn)(CURLM *);
typedef CURLMcode (*ccurl_multi_setopt_fn)(CURLM *, CURLMoption, ...);
typedef CURLMcode (*ccurl_multi_add_handle_fn)(CURLM *, CURL *);
typedef CURLMcode (*ccurl_multi_remove_handle_fn)(CURLM *, CURL *);
typedef CURLMcode (*ccurl_multi_perform_fn)(CURLM *, int *running);
typedef CURLMcode (*ccurl_multi_poll_fn)(CURLM *, struct curl_waitfd *extra, unsigned extra_count, int timeout_ms,
                                         int *ready);
typedef CURLMcode (*ccurl_multi_wakeup_fn)(CURLM *);
typedef CURLMsg *(*ccurl_multi_info_read_fn)(CURLM *, int *left);
typedef const char *(*ccurl_multi_strerror_fn)(CURLMcode);

/// CURLOPT_WRITEFUNCTION and CURLOPT_HEADERFUNCTION
typedef size_t (*ccurl_sink_fn)(char *bytes, size_t size, size_t count, void *context);
/// CURLOPT_PREREQFUNCTION (7.80)
typedef int (*ccurl_before_request_fn)(void *context, char *remote_ip, char *local_ip, int remote_port,
                                       int local_port);

static inline CURLcode ccurl_set_long(ccurl_easy_setopt_fn setopt, CURL *easy, CURLoption option, long value) {
  return setopt(easy, option, value);
}
static inline CURLcode ccurl_set_pointer(ccurl_easy_setopt_fn setopt, CURL *easy, CURLoption option,
                                         const void *value) {
  return setopt(easy, option, value);
}
static inline CURLcode ccurl_set_sink(ccurl_easy_setopt_fn setopt, CURL *easy, CURLoption option,
                                      ccurl_sink_fn value) {
  return setopt(easy, option, value);
}
static inline CURLcode ccurl_set_before_request(ccurl_easy_setopt_fn setopt, CURL *easy,
                                                ccurl_before_request_fn value) {
  return setopt(easy, CURLOPT_PREREQFUNCTION, value);
}
static inline CURLcode ccurl_get_long(ccurl_easy_getinfo_fn getinfo, CURL *easy, CURLINFO info, long *value) {
  return getinfo(easy, info, value);
}
static inline CURLcode ccurl_get_offset(ccurl_easy_getinfo_fn getinfo, CURL *easy, CURLINFO info,
                                        curl_off_t *value) {
  return getinfo(easy, info, value);
}
static inline CURLcode ccurl_get_string(ccurl_easy_getinfo_fn getinfo, CURL *easy, CURLINFO info, char **value) {
  return getinfo(easy, info, value);
}
static inline CURLMcode ccurl_multi_set_long(ccurl_multi_setopt_fn setopt, CURLM *multi, CURLMoption option,
                                             long value) {
  return setopt(multi, option, value);
}
/// The result of a message of kind CURLMSG_DONE, which lies in a union.
static inline CURLcode ccurl_message_result(const CURLMsg *message) { return message->data.result; }
