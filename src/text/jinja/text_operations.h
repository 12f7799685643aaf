#pragma once

#include <optional>
#include <string>
#include <vector>

#include "text/jinja/evaluator.h"

namespace graft::text::jinja {

// Operations on strings that both methods and filters offer. All keep marks and count against the budget.
MarkedText replace(Evaluator& evaluator, const MarkedText& text, const std::string& from, const MarkedText& to,
                   int64_t most);
// str.split(): at runs of white space where there is no separator. `most` < 0: no bound.
std::vector<Value> split(Evaluator& evaluator, const MarkedText& text, const std::string* separator, int64_t most);
std::vector<Value> split_from_right(Evaluator& evaluator, const MarkedText& text, const std::string* separator,
                                    int64_t most);
std::vector<Value> split_lines(const MarkedText& text, bool keep_ends);
// & < > ' " as HTML's entities: what text that went through `safe` does to what it is joined with.
MarkedText html_escaped(const MarkedText& text);
MarkedText join(Evaluator& evaluator, const MarkedText& separator, const std::vector<Value>& items, bool strings_only);

}  // namespace graft::text::jinja
