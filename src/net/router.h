#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "net/http.h"
#include "net/response_writer.h"

namespace graft::net {

// Runs on a worker thread. Answers through the writer, then or later, from any thread.
using Handler = std::function<void(Request request, ResponseWriter writer)>;

// Method and path patterns -> handlers. A pattern's segments are literal, "{name}" (one segment) or, last of all,
// "{name*}" (the rest, slashes included). The first route added that fits wins. Filled before the server starts,
// read-only afterwards.
class Router {
 public:
  void add(std::string method, std::string_view pattern, Handler handler);

  // Method and pattern of every route, in the order in which they were added.
  [[nodiscard]] std::vector<std::pair<std::string, std::string>> routes() const;

  struct Match {
    const Handler* handler = nullptr;  // nullptr: no such path, or not with this method
    std::string allow;                 // "GET, HEAD, OPTIONS" where the path exists; empty where it does not
  };
  // Fills request.params. GET routes answer HEAD too.
  [[nodiscard]] Match match(Request& request) const;

 private:
  struct Route {
    std::string method;
    std::string pattern;
    std::vector<std::string> segments;
    Handler handler;
  };
  std::vector<Route> routes_;
};

}  // namespace graft::net
