#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "grammar/grammar.h"

namespace graft::grammar {

// A regular expression as a grammar can have it: one that matches a whole string. Anchors at the ends are dropped,
// since the ends are the string's; lazy repetition becomes plain, since only what matches counts. Errors: look-around,
// back references, anchors elsewhere, flags, \b, \p; repetitions that multiply to more than limits.repetitions.
Result<std::string> whole_match_pattern(std::string_view pattern, const GrammarLimits& limits);

// The bounds of a grammar's text that are cheap to look at beforehand: depth of brackets and counted repetitions.
Status check_grammar_text(std::string_view text, const GrammarLimits& limits);

// Whether a `format` of JSON Schema becomes part of the grammar.
bool is_enforced_format(std::string_view format);

}  // namespace graft::grammar
