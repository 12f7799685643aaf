#pragma once

#include <string>
#include <utility>

namespace graft::text::jinja {

// Ends the compilation or the rendering of a template. Thrown only inside this room; its edge makes an Error of it.
struct Failure {
  std::string message;
  int line = 0;           // 0: not known yet
  bool verbatim = false;  // raise_exception's message is passed on as it is
};

[[noreturn]] inline void fail(std::string message, int line = 0) { throw Failure{std::move(message), line, false}; }

}  // namespace graft::text::jinja
