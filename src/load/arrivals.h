#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace graft::load {

// When each of `count` requests of a Poisson process is due: seconds from the start, ascending, `rate` a second on
// average, the first at 0. The same for the same seed.
std::vector<double> poisson_arrivals(int64_t count, double rate, uint64_t seed);

// About `tokens` tokens of common words, different from the first word on for each `number`, so that no server answers
// out of a cache of prefixes.
std::string made_up_prompt(int64_t tokens, uint64_t seed, uint64_t number);

}  // namespace graft::load
