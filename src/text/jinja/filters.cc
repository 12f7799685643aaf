#include "text/jinja/filters.h"

#include <algorithm>

#include "text/jinja/expression_parser.h"
#include "text/jinja/failure.h"

namespace graft::text::jinja {
namespace {

Filter find_filter(std::string_view name) {
  for (const FilterTable* table : {&text_filters(), &sequence_filters(), &web_filters()}) {
    if (const auto found = table->find(name); found != table->end()) return found->second;
  }
  return nullptr;
}

}  // namespace

bool is_known_filter(std::string_view name) { return find_filter(name) != nullptr; }

Value apply_filter(Evaluator& evaluator, std::string_view name, const Value& input, CallArguments& arguments) {
  const Filter filter = find_filter(name);
  if (filter == nullptr) fail("filter " + quoted(name) + " is not supported");
  // Most filters would have to keep escaping what they put in.
  static constexpr std::string_view kForSafeText[] = {"safe", "string", "tojson",      "length", "count",    "default",
                                                      "d",    "e",      "forceescape", "escape", "striptags"};
  const bool is_safe = input.as_text() != nullptr && input.as_text()->safe();
  if (is_safe && std::find(std::begin(kForSafeText), std::end(kForSafeText), name) == std::end(kForSafeText)) {
    fail("filter " + quoted(name) + " on text that went through 'safe' is not supported");
  }
  return filter(evaluator, input, arguments);
}

}  // namespace graft::text::jinja
