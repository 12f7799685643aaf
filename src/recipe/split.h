#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace graft::recipe {

enum class Split : uint8_t { kTrain, kValidation, kTest };

// A cell of a split column: 0, 1 or 2; train, training; validation, valid, val, dev, evaluation, eval; test, testing;
// in any case.
std::optional<Split> split_named(std::string_view word);

// Where the row with this number goes: a function of (seed, number), so that it does not depend on the other rows.
// `probabilities`: of train, validation and test.
Split random_split(uint64_t seed, int64_t row, const std::vector<double>& probabilities);

// Splits each group by itself: as many rows as its share says, by largest remainder (train wins ties), drawn by seed.
// `groups`: the group of each row, from 0. A function of its arguments.
std::vector<Split> stratified_split(std::span<const int32_t> groups, uint64_t seed,
                                    const std::vector<double>& probabilities);

}  // namespace graft::recipe
