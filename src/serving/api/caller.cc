#include "serving/api/caller.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <string_view>

#include "base/strings.h"
#include "fmt/format.h"
#include "serving/api/response_headers.h"

namespace graft::serving::api {
namespace {

constexpr const char* kTimeoutHeader = "x-request-timeout-ms";
constexpr int64_t kLongestMs = int64_t{1000} * 60 * 60 * 24 * 365;  // longer ones mean the same
constexpr size_t kMaxTenantBytes = 256;

}  // namespace

void Caller::apply(GenerationRequest& request) const {
  request.tenant = tenant;
  if (max_time.count() == 0) return;
  request.max_time = request.max_time.count() > 0 ? std::min(request.max_time, max_time) : max_time;
}

ApiResult<Caller> caller_of(const net::Headers& headers) {
  Caller caller;
  caller.tenant = std::string(headers.get("x-graft-tenant"));
  const std::string bearer = bearer_token(headers);
  if (caller.tenant.empty()) caller.tenant = bearer;
  if (bearer.starts_with("hf_")) caller.hub_token = bearer;
  if (caller.tenant.size() > kMaxTenantBytes) {
    return bad_field(fmt::format("a tenant's name may have {} bytes at most", kMaxTenantBytes), "x-graft-tenant");
  }
  if (!headers.has(kTimeoutHeader)) return caller;
  const std::string_view text = headers.get(kTimeoutHeader);
  int64_t ms = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), ms);
  if (error != std::errc() || end != text.data() + text.size() || ms < 1) {
    return bad_field(fmt::format("`{}` must be a whole number of milliseconds, at least 1. Given: {}", kTimeoutHeader,
                                 printable(std::string(text))),
                     kTimeoutHeader);
  }
  caller.max_time = std::chrono::milliseconds(std::min(ms, kLongestMs));
  return caller;
}

ApiResult<std::chrono::nanoseconds> read_max_time(std::optional<double> seconds, const std::string& field) {
  if (!seconds) return std::chrono::nanoseconds{};
  if (!(*seconds > 0)) return bad_field("`max_time` must be strictly positive", field);
  const double ns = std::min(*seconds * 1e9, static_cast<double>(kLongestMs) * 1e6);
  return std::chrono::nanoseconds(std::max<int64_t>(1, std::llround(ns)));
}

}  // namespace graft::serving::api
