#pragma once

#include <cstddef>
#include <cstdint>

namespace graft::text::jinja {

// What one template may cost. Templates come with models from anywhere, and messages from anybody.
inline constexpr size_t kLargestSource = size_t{1} << 20;        // bytes
inline constexpr int kDeepestSyntax = 100;                       // nested expressions and blocks
inline constexpr int kDeepestEvaluation = 200;                   // those, through calls of macros
inline constexpr int kDeepestValue = 100;                        // lists in lists
inline constexpr uint64_t kMostSteps = 20'000'000;               // evaluated nodes, and items that built-ins visit
inline constexpr size_t kLargestOutput = size_t{64} << 20;       // bytes
inline constexpr size_t kLargestString = size_t{32} << 20;       // bytes
inline constexpr uint64_t kMostStringBytes = uint64_t{1} << 30;  // made by one rendering, all strings together
inline constexpr uint64_t kHeaviestValue = 10'000'000;           // items of lists in lists
inline constexpr size_t kLongestList = 1'000'000;                // items
inline constexpr int64_t kLongestRange = 100'000;                // as in Jinja's sandbox

}  // namespace graft::text::jinja
