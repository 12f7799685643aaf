#pragma once

#include <map>
#include <string_view>

#include "text/jinja/evaluator.h"

namespace graft::text::jinja {

using TextMethod = Value (*)(Evaluator& evaluator, const MarkedText& text, CallArguments& arguments);

// Those of Python's str that return text, numbers or lists of these: all but encode, translate and maketrans.
const std::map<std::string_view, TextMethod>& text_methods();

}  // namespace graft::text::jinja
