#pragma once

#include <string_view>

#include "text/jinja/ast.h"

namespace graft::text::jinja {

// Throws Failure, with a line, for what is not Jinja and for Jinja that is not built. `source` is valid UTF-8.
Block parse_template(std::string_view source, bool& marks_generation);

}  // namespace graft::text::jinja
