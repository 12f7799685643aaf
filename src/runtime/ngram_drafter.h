#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

namespace graft::runtime {

// Guesses how a sequence goes on: as it went on where its last tokens stood before (prompt lookup decoding). Answers
// that copy from the prompt, as edits and extractions do, are guessed many tokens at a time. Of several earlier places
// the latest one counts, of several lengths the longest. Belongs to one thread and one sequence.
class NgramDrafter {
 public:
  static constexpr int32_t kLongest = 4, kShortest = 2;  // tokens that must stand at both places

  // At most `limit` guesses for what follows `tokens`; none where the last tokens are new. `tokens` only ever grows
  // between calls.
  std::vector<int32_t> propose(std::span<const int32_t> tokens, int32_t limit);

 private:
  void index(std::span<const int32_t> tokens);
  // Where the last `n` tokens stood before: the index of what followed them; -1: nowhere.
  [[nodiscard]] int64_t find(std::span<const int32_t> tokens, int32_t n) const;

  // For each length, where the run with this hash stood last: the index of what followed it.
  std::unordered_map<uint64_t, int32_t> followers_[kLongest - kShortest + 1];
  int32_t indexed_ = 0;  // tokens before this one are known as followers
};

}  // namespace graft::runtime
