#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace graft::text {

struct CodePointRange {  // both ends included
  char32_t low = 0;
  char32_t high = 0;
};

// Members of a general category that Oniguruma 6.9.8 does not know yet.
struct NewerCategory {
  std::string_view name;  // "Lu", as in \p{Lu}
  std::span<const CodePointRange> ranges;
};

// Sorted, disjoint. The package `tokenizers` takes its classes from several releases of Unicode, so these tables were
// asked of the package itself (scripts/make_unicode_tables.py).
std::span<const CodePointRange> letter_ranges();  // \p{L} of its regex engine
std::span<const CodePointRange> number_ranges();  // \p{N} of its regex engine
std::span<const CodePointRange> digit_ranges();   // char::is_numeric, what the pre-tokenizer Digits uses
std::span<const CodePointRange> word_ranges();    // \w of the engine that looks at added tokens' neighbours
std::span<const NewerCategory> newer_categories();

}  // namespace graft::text
