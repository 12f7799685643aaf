#include "text/unicode/letter_case.h"

#include <algorithm>
#include <span>

#include "text/unicode/normalizing_tables.h"

namespace graft::text {
namespace {

// The run of a sorted table that holds the character; nullptr where there is none.
template <class Run>
const Run* run_of(std::span<const Run> runs, char32_t c) {
  const auto after =
      std::upper_bound(runs.begin(), runs.end(), c, [](char32_t value, const Run& run) { return value < run.low; });
  if (after == runs.begin() || c > (after - 1)->high) return nullptr;
  return &*(after - 1);
}

}  // namespace

LowerCase lower_case(char32_t c) {
  if (c < 0x80) return {c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c, 0};
  for (const LowerPair& pair : lower_pairs()) {
    if (pair.letter == c) return {pair.becomes[0], pair.becomes[1]};
  }
  const LowerRun* run = run_of(lower_runs(), c);
  if (run == nullptr || (c - run->low) % run->step != 0) return {c, 0};
  return {static_cast<char32_t>(static_cast<int32_t>(c) + run->distance), 0};
}

bool is_combining_mark(char32_t c) { return c >= 0x300 && run_of(combining_ranges(), c) != nullptr; }

unsigned script_of(char32_t c) {
  const ScriptRun* run = run_of(script_runs(), c);
  return run == nullptr ? 0 : run->script;
}

}  // namespace graft::text
