#include "serving/api/trace.h"

#include <algorithm>

#include "fmt/format.h"
#include "serving/api/prompt.h"

namespace graft::serving::api {
namespace {

constexpr const char* kRequestId = "x-request-id";
constexpr size_t kMaxRequestId = 128;

bool is_hex(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool all_zero(std::string_view text) { return text.find_first_not_of('0') == std::string_view::npos; }

std::string new_span() { return fmt::format("{:016x}", random_seed() | 1U); }

bool printable_id(std::string_view id) {
  return !id.empty() && id.size() <= kMaxRequestId &&
         std::ranges::all_of(id, [](char c) { return c > ' ' && c < '\x7f'; });
}

}  // namespace

std::optional<TraceContext> parse_traceparent(std::string_view header) {
  constexpr size_t kLength = 55;  // 00-TRACE-SPAN-FLAGS
  if (header.size() < kLength || header[2] != '-' || header[35] != '-' || header[52] != '-') return std::nullopt;
  const std::string_view version = header.substr(0, 2);
  const std::string_view trace = header.substr(3, 32);
  const std::string_view parent = header.substr(36, 16);
  const std::string_view flags = header.substr(53, 2);
  if (!is_hex(version) || !is_hex(trace) || !is_hex(parent) || !is_hex(flags)) return std::nullopt;
  if (version == "ff" || all_zero(trace) || all_zero(parent)) return std::nullopt;
  // Later versions may add fields behind a dash; version 00 has none.
  if (header.size() > kLength && (version == "00" || header[kLength] != '-')) return std::nullopt;
  return TraceContext{std::string(trace), new_span(), std::string(flags)};
}

TraceContext new_trace() {
  return {fmt::format("{:016x}{:016x}", random_seed() | 1U, random_seed()), new_span(), "00"};
}

net::Headers trace_headers(net::Headers& request) {
  const TraceContext trace = parse_traceparent(request.get("traceparent")).value_or(new_trace());
  std::string id(request.get(kRequestId));
  if (!printable_id(id)) id = trace.trace_id;
  request.set(kRequestId, id);
  return {{kRequestId, std::move(id)}, {"traceparent", trace.traceparent()}};
}

}  // namespace graft::serving::api
