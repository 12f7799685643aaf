#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "net/http.h"

namespace graft::net {

struct ClientRequest {
  std::string method = "GET";
  std::string url;
  Headers headers;
  std::string body;
  std::chrono::milliseconds connect_timeout{10'000};
  std::chrono::milliseconds timeout{60'000};  // the whole exchange; 0: none
  size_t max_body_bytes = 256 * 1024 * 1024;  // a longer answer is an error (not where on_data takes it)
  int max_redirects = 0;
  // Slower than a byte a second for so long is an error; 0: never. For what takes as long as it takes.
  std::chrono::seconds stall_timeout{0};
  // Takes the body as it comes instead of ClientResponse::body. false ends the transfer, which is then cancelled.
  std::function<bool(std::string_view)> on_data;
  // Asked before the first byte of a body whether on_data is to have it (true), or ClientResponse::body.
  std::function<bool(int status, const Headers& headers)> on_head;
};

struct ClientResponse {
  int status = 0;
  Headers headers;  // of the last answer, where redirects were followed
  std::string body;
};

// Why an exchange has no answer, for whoever counts failures by kind.
enum class TransferFailure {
  kNone,
  kConnect,  // no connection: refused, unknown host
  kTimeout,
  kCutOff,   // the connection ended before the answer did
  kStopped,  // on_data said so
  kOther,
};

// One blocking exchange over http or https (libcurl). An HTTP status of 400 and more is an answer, not an error.
// Errors: invalid (the URL), cancelled (on_data said so), io (everything else); the message names the URL.
// Proxies are taken from the environment, but never for loopback addresses.
Result<ClientResponse> http_send(const ClientRequest& request);

// A date of a header in any of RFC 9110's forms ("Sun, 06 Nov 1994 08:49:37 GMT") as Unix time; nothing for others.
std::optional<int64_t> parse_http_date(std::string_view text);
Result<ClientResponse> http_get(const std::string& url);
Result<ClientResponse> http_post_json(const std::string& url, std::string body);

// What a Location header means on a page, and whether two URLs are of one origin: scheme, host and port (RFC 6454).
Result<std::string> resolve_url(const std::string& base, const std::string& location);
bool same_origin(const std::string& a, const std::string& b);

// "a b/c" -> "a%20b/c": a path in a URL; '/' stays where `keep_slashes`.
std::string percent_encode(std::string_view path, bool keep_slashes = true);

}  // namespace graft::net
