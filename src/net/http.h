#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace graft::net {

// Header fields in the order they came or are to be sent. Names compare without case; a name may repeat.
class Headers {
 public:
  Headers() = default;
  Headers(std::initializer_list<std::pair<std::string, std::string>> fields) : fields_(fields) {}

  void add(std::string name, std::string value) { fields_.emplace_back(std::move(name), std::move(value)); }
  void set(const std::string& name, std::string value);  // replaces every field of that name
  void erase(std::string_view name);
  [[nodiscard]] std::string_view get(std::string_view name) const;  // the first one; empty where there is none
  [[nodiscard]] bool has(std::string_view name) const;

  [[nodiscard]] auto begin() const { return fields_.begin(); }
  [[nodiscard]] auto end() const { return fields_.end(); }

 private:
  std::vector<std::pair<std::string, std::string>> fields_;
};

struct Request {
  std::string method;  // as sent: "GET"
  std::string target;  // as sent: "/a%20b?c=d"; of the form for proxies, "http://host/a", without the host
  std::string path;    // before the '?', percent-decoded
  std::string query;   // after the '?', as sent
  bool http_1_0 = false;
  Headers headers;
  std::string body;
  std::map<std::string, std::string, std::less<>> params;  // what the route's {names} matched
};

struct Response {
  int status = 200;
  Headers headers;  // Content-Length, Connection and Date are the server's
  std::string body;

  static Response json(int status, std::string body);
  static Response text(int status, std::string body);
};

// The target of a request line as a path: "http://host/a?b" -> "/a?b", "*" -> "/*" (which no route has).
std::string origin_form(std::string_view target);

std::string_view reason_phrase(int status);
bool equal_ignoring_case(std::string_view a, std::string_view b);

// "%41" -> "A". A '%' that two hex digits do not follow stays as it is.
std::string percent_decode(std::string_view text);

// Makes any bytes safe as a header value: what is not visible ASCII or a space becomes %XX.
std::string header_safe(std::string_view value);

// One server-sent event: "data: PAYLOAD\n\n", one data line for each line of the payload.
std::string sse_event(std::string_view payload);

}  // namespace graft::net
