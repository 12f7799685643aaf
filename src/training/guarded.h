#pragma once

#include <fmt/format.h>

#include <exception>
#include <string>

#include "base/result.h"

namespace graft::training {

// body(), which returns a Status or a Result; what torch throws becomes an internal error: "`what` failed: ...".
template <class F>
auto guarded(const char* what, const F& body) -> decltype(body()) {
  try {
    return body();
  } catch (const std::exception& e) {
    const std::string text = e.what();
    return internal_error(fmt::format("{} failed: {}", what, text.substr(0, text.find('\n'))));
  }
}

}  // namespace graft::training
