#pragma once

#include <cstdint>
#include <span>

namespace graft::training {

// NEFTune (Jain et al. 2023, arXiv:2310.05914): adds uniform noise in [-1, 1] * alpha / sqrt(L * width) to the
// embeddings of each sequence, L being its own length: batches have no padding here. `rows` [tokens, width]; cu_seqlens
// from 0 to tokens. Each value is a function of (stream, row, column) alone.
void add_embedding_noise(std::span<float> rows, std::span<const int32_t> cu_seqlens, double alpha, uint64_t stream);

}  // namespace graft::training
