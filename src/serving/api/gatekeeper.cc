#include "serving/api/gatekeeper.h"

#include <array>
#include <chrono>

#include "base/digest.h"
#include "base/log.h"
#include "base/strings.h"
#include "serving/api/response_headers.h"

namespace graft::serving::api {
namespace {

constexpr std::array<std::string_view, 3> kOpenPaths{"/health", "/ping", "/startup"};
constexpr std::array<std::string_view, 2> kDrainingPaths{"/info", "/metrics"};  // beside the open ones

spdlog::level::level_enum level_of(const net::Exchanged& exchanged) {
  if (exchanged.status >= 500) return spdlog::level::warn;
  const bool failed = exchanged.status >= 400 || !exchanged.whole;
  return failed ? spdlog::level::info : spdlog::level::debug;
}

template <size_t n>
bool contains(const std::array<std::string_view, n>& paths, std::string_view path) {
  for (const std::string_view each : paths) {
    if (each == path) return true;
  }
  return false;
}

}  // namespace

bool is_api_key(std::string_view given, const std::vector<std::string>& keys) {
  // Digests have one length, and tell nothing about how much of a key was right.
  const std::string digest = sha256_hex(given);
  unsigned found = 0;
  for (const std::string& key : keys) {
    const std::string expected = sha256_hex(key);
    unsigned difference = 0;
    for (size_t i = 0; i < digest.size(); ++i) difference |= static_cast<unsigned>(digest[i] ^ expected[i]);
    found |= static_cast<unsigned>(difference == 0);
  }
  return found != 0;
}

std::optional<net::Response> check_at_the_door(const ApiContext& context, const net::Request& request) {
  const bool open = contains(kOpenPaths, request.path);
  if (!open && !context.config.api_keys.empty() &&
      !is_api_key(bearer_token(request.headers), context.config.api_keys)) {
    net::Response response =
        http_error_response(request.path, 401, "a valid API key is needed; send it as \"Authorization: Bearer KEY\"");
    response.headers.set("WWW-Authenticate", "Bearer");
    return response;
  }
  if (context.draining && !open && !contains(kDrainingPaths, request.path)) {
    net::Response response = http_error_response(request.path, 503, "the server is stopping");
    response.headers.set("Retry-After", "1");
    return response;
  }
  return std::nullopt;
}

bool is_logged(const net::Exchanged& exchanged) { return spdlog::should_log(level_of(exchanged)); }

void log_exchange(const net::Exchanged& exchanged) {
  const auto ms = std::chrono::duration<double, std::milli>(exchanged.time).count();
  const std::string_view trace = exchanged.standing.get("traceparent");
  spdlog::log(level_of(exchanged), "{} {} {}{} {:.1f} ms request={} trace={}", printable(exchanged.method),
              printable(exchanged.path), exchanged.status, exchanged.whole ? "" : " cut", ms,
              exchanged.standing.get("x-request-id"), trace.size() > 35 ? trace.substr(3, 32) : trace);
}

}  // namespace graft::serving::api
