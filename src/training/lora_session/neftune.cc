#include "training/lora_session/neftune.h"

#include <cmath>

#include "base/philox.h"
#include "ops/cpu/parallel.h"

namespace graft::training {

namespace {

// Apart from what dropout draws under the same name.
constexpr uint64_t kNoise = 0x4E45465455'4E45;

}  // namespace

void add_embedding_noise(std::span<float> rows, std::span<const int32_t> cu_seqlens, double alpha, uint64_t stream) {
  if (cu_seqlens.size() < 2 || cu_seqlens.back() == 0) return;
  const int64_t width = static_cast<int64_t>(rows.size()) / cu_seqlens.back();
  const int64_t blocks = (width + 3) / 4;
  ops::cpu::parallel_for(static_cast<int64_t>(cu_seqlens.size()) - 1, [&](int64_t sequence) {
    const int64_t begin = cu_seqlens[static_cast<size_t>(sequence)];
    const int64_t end = cu_seqlens[static_cast<size_t>(sequence) + 1];
    const auto bound = static_cast<float>(alpha / std::sqrt(static_cast<double>((end - begin) * width)));
    for (int64_t row = begin; row < end; ++row) {
      PhiloxStream random(stream, kNoise, static_cast<uint64_t>(row * blocks));
      float* values = rows.data() + row * width;
      for (int64_t i = 0; i < width; ++i) values[i] += (2.0F * random.next_float() - 1.0F) * bound;
    }
  });
}

}  // namespace graft::training
