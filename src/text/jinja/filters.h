#pragma once

#include <map>
#include <string_view>

#include "text/jinja/evaluator.h"

namespace graft::text::jinja {

using Filter = Value (*)(Evaluator& evaluator, const Value& input, CallArguments& arguments);
using FilterTable = std::map<std::string_view, Filter>;

const FilterTable& text_filters();
const FilterTable& sequence_filters();
const FilterTable& web_filters();

// Those with a story of their own.
Value wordwrap_filter(Evaluator& evaluator, const Value& input, CallArguments& arguments);
Value striptags_filter(Evaluator& evaluator, const Value& input, CallArguments& arguments);

}  // namespace graft::text::jinja
