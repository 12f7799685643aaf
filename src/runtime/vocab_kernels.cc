#include "runtime/vocab_kernels.h"

#include <bit>
#include <cfloat>
#include <cmath>
#include <cstdint>

// Written as plain loops that compilers vectorise. On x86-64 GCC and Clang compile the same body for wider registers;
// contraction to fused multiply-add is off for this file (CMakeLists.txt), so that all versions agree to the bit.
#if defined(__x86_64__)
#define GRAFT_FOR_AVX2 __attribute__((target("avx2")))
#define GRAFT_FOR_AVX512 __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl")))
#endif
#define GRAFT_INLINE inline __attribute__((always_inline))

namespace graft::runtime {
namespace {

constexpr size_t kLanes = 16;  // partial results that are combined in a fixed order
constexpr size_t kBlock = 1024;

// exp(-x) for x >= 0: 2^n * polynomial(r), Cody-Waite reduction, at most 2 ulp off; 0 where the result is subnormal.
GRAFT_INLINE float exp_minus(float x) {
  constexpr float kRound = 12582912.0F;  // 1.5 * 2^23: adding it rounds to an integer
  constexpr float kLimit = 87.0F;
  const float y = x > kLimit ? -kLimit : -x;
  const float shifted = y * 1.44269504088896341F + kRound;
  const float n = shifted - kRound;
  const float r = (y - n * 0.693359375F) + n * 2.12194440e-4F;
  float p = 1.9875691500e-4F;
  p = p * r + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  p = p * r * r + r + 1.0F;
  const uint32_t exponent = std::bit_cast<uint32_t>(shifted) << 23;
  const float result = std::bit_cast<float>(std::bit_cast<uint32_t>(p) + exponent);
  return x > kLimit ? 0.0F : result;
}

template <class T>
GRAFT_INLINE T combine_lanes(T* lanes) {
  for (size_t width = kLanes / 2; width > 0; width /= 2) {
    for (size_t j = 0; j < width; ++j) lanes[j] += lanes[j + width];
  }
  return lanes[0];
}

GRAFT_INLINE float block_max(const float* x, size_t n) {
  float lanes[kLanes];
  for (size_t j = 0; j < kLanes; ++j) lanes[j] = -INFINITY;
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (size_t j = 0; j < kLanes; ++j) lanes[j] = x[i + j] > lanes[j] ? x[i + j] : lanes[j];
  }
  for (size_t j = 0; i < n; ++i, ++j) lanes[j] = x[i] > lanes[j] ? x[i] : lanes[j];
  float max = lanes[0];
  for (size_t j = 1; j < kLanes; ++j) max = lanes[j] > max ? lanes[j] : max;
  return max;
}

GRAFT_INLINE bool all_below_infinity(const float* x, size_t n) {
  uint32_t bad = 0;
  for (size_t i = 0; i < n; ++i) bad |= static_cast<uint32_t>(!(x[i] <= FLT_MAX));  // NaN compares false
  return bad == 0;
}

GRAFT_INLINE Peak find_peak_body(const float* x, size_t n) {
  Peak peak{-INFINITY, 0, true};
  size_t best_block = 0;
  for (size_t begin = 0; begin < n; begin += kBlock) {
    const size_t size = n - begin < kBlock ? n - begin : kBlock;
    if (!all_below_infinity(x + begin, size)) peak.finite = false;
    const float max = block_max(x + begin, size);
    if (max > peak.value) {
      peak.value = max;
      best_block = begin;
    }
  }
  if (peak.value == -INFINITY) peak.finite = false;
  for (peak.index = best_block; peak.index + 1 < n && x[peak.index] != peak.value;) ++peak.index;
  return peak;
}

constexpr size_t kWordBits = 32;

// The word's allowed elements of x, others -inf. Vectorised: no branches, n is kWordBits except at the end of a row.
GRAFT_INLINE void masked_word(const float* x, size_t n, uint32_t word, float* out) {
  for (size_t j = 0; j < n; ++j) out[j] = ((word >> j) & 1U) != 0 ? x[j] : -INFINITY;
}

GRAFT_INLINE Peak find_masked_peak_body(const float* x, size_t n, const uint32_t* mask) {
  Peak peak{-INFINITY, 0, true};
  size_t best = 0;
  for (size_t begin = 0; begin < n; begin += kWordBits) {
    const uint32_t word = mask[begin / kWordBits];
    if (word == 0) continue;
    const size_t size = n - begin < kWordBits ? n - begin : kWordBits;
    float allowed[kWordBits];
    masked_word(x + begin, size, word, allowed);
    if (!all_below_infinity(allowed, size)) peak.finite = false;
    const float max = block_max(allowed, size);
    if (max > peak.value) {
      peak.value = max;
      best = begin;
    }
  }
  if (peak.value == -INFINITY) peak.finite = false;
  const auto is_peak = [&](size_t i) {
    return ((mask[i / kWordBits] >> (i % kWordBits)) & 1U) != 0 && x[i] == peak.value;
  };
  for (peak.index = best; peak.index + 1 < n && !is_peak(peak.index);) ++peak.index;
  return peak;
}

GRAFT_INLINE void apply_mask_body(const float* x, size_t n, const uint32_t* mask, float* out) {
  for (size_t begin = 0; begin < n; begin += kWordBits) {
    const size_t size = n - begin < kWordBits ? n - begin : kWordBits;
    masked_word(x + begin, size, mask[begin / kWordBits], out + begin);
  }
}

// lanes[i % kLanes] += x[i]; n is a multiple of kLanes except in the last call of a row.
GRAFT_INLINE void add_to_lanes(const float* x, size_t n, double* lanes) {
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (size_t j = 0; j < kLanes; ++j) lanes[j] += static_cast<double>(x[i + j]);
  }
  for (size_t j = 0; i < n; ++i, ++j) lanes[j] += static_cast<double>(x[i]);
}

GRAFT_INLINE double sum_double_body(const float* x, size_t n) {
  double lanes[kLanes] = {};
  add_to_lanes(x, n, lanes);
  return combine_lanes(lanes);
}

GRAFT_INLINE double sum_exp_body(const float* x, size_t n, float peak) {
  double lanes[kLanes] = {};
  float terms[kBlock];
  for (size_t begin = 0; begin < n; begin += kBlock) {
    const size_t size = n - begin < kBlock ? n - begin : kBlock;
    for (size_t i = 0; i < size; ++i) terms[i] = exp_minus(peak - x[begin + i]);
    add_to_lanes(terms, size, lanes);
  }
  return combine_lanes(lanes);
}

GRAFT_INLINE void scale_distances_body(const float* x, size_t n, float peak, float temperature, float* out) {
  for (size_t i = 0; i < n; ++i) out[i] = (peak - x[i]) / temperature;
}

GRAFT_INLINE void exp_weights_body(const float* x, size_t n, float* out) {
  for (size_t i = 0; i < n; ++i) out[i] = exp_minus(x[i]);
}

GRAFT_INLINE bool any_below_body(const float* x, size_t n, float limit) {
  uint32_t found = 0;
  for (size_t i = 0; i < n; ++i) found |= static_cast<uint32_t>(x[i] < limit);
  return found != 0;
}

struct Kernels {
  Peak (*find_peak)(const float*, size_t);
  double (*sum_exp)(const float*, size_t, float);
  void (*scale_distances)(const float*, size_t, float, float, float*);
  void (*exp_weights)(const float*, size_t, float*);
  double (*sum_double)(const float*, size_t);
  bool (*any_below)(const float*, size_t, float);
  Peak (*find_masked_peak)(const float*, size_t, const uint32_t*);
  void (*apply_mask)(const float*, size_t, const uint32_t*, float*);
};

// clang-format off
#define GRAFT_KERNELS(suffix, attribute)                                                                            \
  attribute Peak find_peak_##suffix(const float* x, size_t n) { return find_peak_body(x, n); }                      \
  attribute double sum_exp_##suffix(const float* x, size_t n, float peak) { return sum_exp_body(x, n, peak); }      \
  attribute void scale_distances_##suffix(const float* x, size_t n, float peak, float t, float* out) {              \
    scale_distances_body(x, n, peak, t, out);                                                                       \
  }                                                                                                                 \
  attribute void exp_weights_##suffix(const float* x, size_t n, float* out) { exp_weights_body(x, n, out); }        \
  attribute double sum_double_##suffix(const float* x, size_t n) { return sum_double_body(x, n); }                  \
  attribute bool any_below_##suffix(const float* x, size_t n, float limit) { return any_below_body(x, n, limit); }  \
  attribute Peak find_masked_peak_##suffix(const float* x, size_t n, const uint32_t* mask) {                        \
    return find_masked_peak_body(x, n, mask);                                                                       \
  }                                                                                                                 \
  attribute void apply_mask_##suffix(const float* x, size_t n, const uint32_t* mask, float* out) {                  \
    apply_mask_body(x, n, mask, out);                                                                               \
  }                                                                                                                 \
  constexpr Kernels kKernels_##suffix = {find_peak_##suffix,   sum_exp_##suffix,    scale_distances_##suffix,       \
                                         exp_weights_##suffix, sum_double_##suffix, any_below_##suffix,             \
                                         find_masked_peak_##suffix, apply_mask_##suffix};
// clang-format on

GRAFT_KERNELS(baseline, )
#if defined(__x86_64__)
GRAFT_KERNELS(avx2, GRAFT_FOR_AVX2)
GRAFT_KERNELS(avx512, GRAFT_FOR_AVX512)

const Kernels& choose_kernels() {
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl")) {
    return kKernels_avx512;
  }
  return __builtin_cpu_supports("avx2") ? kKernels_avx2 : kKernels_baseline;
}
#else
const Kernels& choose_kernels() { return kKernels_baseline; }
#endif

const Kernels& kernels() {
  static const Kernels& chosen = choose_kernels();
  return chosen;
}

}  // namespace

Peak find_peak(std::span<const float> logits) { return kernels().find_peak(logits.data(), logits.size()); }

Peak find_peak(std::span<const float> logits, TokenMask mask) {
  return kernels().find_masked_peak(logits.data(), logits.size(), mask.data());
}

void apply_mask(std::span<const float> logits, TokenMask mask, std::span<float> out) {
  kernels().apply_mask(logits.data(), logits.size(), mask.data(), out.data());
}

double sum_exp(std::span<const float> logits, float peak) {
  return kernels().sum_exp(logits.data(), logits.size(), peak);
}

void scale_distances(std::span<const float> logits, float peak, float temperature, std::span<float> distances) {
  kernels().scale_distances(logits.data(), logits.size(), peak, temperature, distances.data());
}

void exp_weights(std::span<const float> distances, std::span<float> weights) {
  kernels().exp_weights(distances.data(), distances.size(), weights.data());
}

bool any_below(std::span<const float> values, float limit) {
  return kernels().any_below(values.data(), values.size(), limit);
}

double sum_double(std::span<const float> values) { return kernels().sum_double(values.data(), values.size()); }

}  // namespace graft::runtime
