#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "net/http.h"

namespace graft::serving::api {

// W3C Trace Context, version 00: which trace a request belongs to, and the span that this server adds to it.
struct TraceContext {
  std::string trace_id;  // 32 lower-case hex digits
  std::string span_id;   // 16, this server's
  std::string flags = "00";

  [[nodiscard]] std::string traceparent() const { return "00-" + trace_id + "-" + span_id + "-" + flags; }
};

// What a traceparent header says, with a span of our own; empty where it is not well-formed.
std::optional<TraceContext> parse_traceparent(std::string_view header);
TraceContext new_trace();

// x-request-id and traceparent of an answer: what the request carries is passed on, what it lacks is made up. The
// request gets the id too.
net::Headers trace_headers(net::Headers& request);

}  // namespace graft::serving::api
