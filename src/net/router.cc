#include "net/router.h"

#include <algorithm>

namespace graft::net {
namespace {

std::vector<std::string> split(std::string_view path) {
  std::vector<std::string> segments;
  while (!path.empty() && path.front() == '/') {
    path.remove_prefix(1);
    const size_t end = std::min(path.find('/'), path.size());
    segments.emplace_back(path.substr(0, end));
    path.remove_prefix(end);
  }
  return segments;
}

bool is_parameter(const std::string& segment) {
  return segment.size() > 2 && segment.front() == '{' && segment.back() == '}';
}

bool takes_rest(const std::string& segment) { return is_parameter(segment) && segment[segment.size() - 2] == '*'; }

std::string join_from(const std::vector<std::string>& segments, size_t first) {
  std::string out;
  for (size_t i = first; i < segments.size(); ++i) {
    if (i > first) out += '/';
    out += segments[i];
  }
  return out;
}

bool fits(const std::vector<std::string>& pattern, const std::vector<std::string>& path,
          std::map<std::string, std::string, std::less<>>& params) {
  params.clear();
  for (size_t i = 0; i < pattern.size(); ++i) {
    if (i >= path.size()) return false;
    const std::string& segment = pattern[i];
    if (takes_rest(segment)) {
      params[segment.substr(1, segment.size() - 3)] = percent_decode(join_from(path, i));
      return true;
    }
    if (is_parameter(segment)) {
      if (path[i].empty()) return false;
      params[segment.substr(1, segment.size() - 2)] = percent_decode(path[i]);
    } else if (percent_decode(path[i]) != segment) {
      return false;
    }
  }
  return path.size() == pattern.size();
}

}  // namespace

void Router::add(std::string method, std::string_view pattern, Handler handler) {
  routes_.push_back({std::move(method), std::string(pattern), split(pattern), std::move(handler)});
}

std::vector<std::pair<std::string, std::string>> Router::routes() const {
  std::vector<std::pair<std::string, std::string>> list;
  for (const Route& route : routes_) list.emplace_back(route.method, route.pattern);
  return list;
}

Router::Match Router::match(Request& request) const {
  // Split before decoding, so that "%2F" inside a segment is not a separator.
  const auto path = split(std::string_view(request.target).substr(0, request.target.find('?')));
  Match match;
  std::vector<std::string> allowed;
  for (const Route& route : routes_) {
    std::map<std::string, std::string, std::less<>> params;
    if (!fits(route.segments, path, params)) continue;
    const bool head = request.method == "HEAD" && route.method == "GET";
    if (match.handler == nullptr && (route.method == request.method || head)) {
      match.handler = &route.handler;
      request.params = std::move(params);
    }
    if (std::find(allowed.begin(), allowed.end(), route.method) == allowed.end()) allowed.push_back(route.method);
  }
  if (allowed.empty()) return match;
  if (std::find(allowed.begin(), allowed.end(), "GET") != allowed.end()) allowed.emplace_back("HEAD");
  allowed.emplace_back("OPTIONS");
  for (const auto& method : allowed) match.allow += (match.allow.empty() ? "" : ", ") + method;
  return match;
}

}  // namespace graft::net
