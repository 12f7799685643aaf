#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "training/session.h"

// For tests of sessions.
namespace graft::training {

// The sequences one after the other; every row from `loss_from` on predicts its successor.
inline PackedBatch pack(const std::vector<std::vector<int32_t>>& sequences, size_t loss_from) {
  PackedBatch batch;
  batch.cu_seqlens.push_back(0);
  for (const auto& sequence : sequences) {
    for (size_t i = 0; i < sequence.size(); ++i) {
      const bool labelled = i >= loss_from && i + 1 < sequence.size();
      batch.tokens.push_back(sequence[i]);
      batch.labels.push_back(labelled ? sequence[i + 1] : kIgnoreLabel);
    }
    batch.cu_seqlens.push_back(static_cast<int32_t>(batch.tokens.size()));
  }
  return batch;
}

inline std::vector<std::vector<int32_t>> cut(const std::vector<int32_t>& tokens, const std::vector<size_t>& lengths) {
  std::vector<std::vector<int32_t>> out;
  size_t at = 0;
  for (const size_t n : lengths) {
    const auto first = tokens.begin() + static_cast<std::ptrdiff_t>(at);
    out.emplace_back(first, first + static_cast<std::ptrdiff_t>(n));
    at += n;
  }
  return out;
}

inline std::vector<float> next_token_logprobs(Session& session, const std::vector<int32_t>& tokens) {
  auto scores = session.logprobs(pack({tokens}, 0));
  EXPECT_TRUE(scores.ok());
  scores->pop_back();
  return *scores;
}

}  // namespace graft::training
