#pragma once

#include <cstdint>
#include <span>

#include "text/unicode/tables.h"

namespace graft::text {

struct LowerRun {  // low, low + step, ..., high become themselves + distance
  char32_t low = 0;
  char32_t high = 0;
  uint8_t step = 1;
  int32_t distance = 0;
};

struct LowerPair {
  char32_t letter = 0;
  char32_t becomes[2] = {0, 0};
};

struct ScriptRun {  // both ends included
  char32_t low = 0;
  char32_t high = 0;
  uint8_t script = 0;
};

// Sorted and disjoint, asked of the package `tokenizers` as those of tables.h are.
std::span<const CodePointRange> punctuation_ranges();
std::span<const CodePointRange> control_ranges();     // what BERT's cleaning removes
std::span<const CodePointRange> nonspacing_ranges();  // what BERT's strip_accents removes
std::span<const CodePointRange> combining_ranges();   // what StripAccents removes
// What decomposes under NFKD in utf8proc's Unicode, but not in the package's.
std::span<const CodePointRange> newer_compatible_ranges();
std::span<const LowerRun> lower_runs();
std::span<const LowerPair> lower_pairs();
// Characters of no script, which may stand beside any, are in no run.
std::span<const ScriptRun> script_runs();

}  // namespace graft::text
