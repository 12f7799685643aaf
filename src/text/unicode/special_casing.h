#pragma once

#include <span>

#include "text/unicode/tables.h"

namespace graft::text {

// A letter that becomes two or three characters; unused ones are 0.
struct SpecialCasing {
  char32_t letter = 0;
  char32_t becomes[3] = {0, 0, 0};
};

// Sorted by letter.
std::span<const SpecialCasing> special_upper();
std::span<const SpecialCasing> special_title();

// Unicode's properties Cased and Case_Ignorable. Sorted, disjoint.
std::span<const CodePointRange> cased_ranges();
std::span<const CodePointRange> case_ignorable_ranges();

}  // namespace graft::text
