#include "ops/dropout.h"

#include <ATen/ops/empty.h>

#include "base/philox.h"
#include "ops/dtype.h"
#include "ops/rows.h"

namespace graft::ops {

namespace {

template <class T>
T scaled(T value, float factor);
template <>
float scaled(float value, float factor) {
  return value * factor;
}
template <>
cpu::bf16 scaled(cpu::bf16 value, float factor) {
  return cpu::to_bf16(cpu::to_float(value) * factor);
}

template <class T>
void drop(const at::Tensor& x, double p, uint64_t stream, at::Tensor& out) {
  const int64_t width = x.size(1);
  const auto threshold = static_cast<uint64_t>(p * 4294967296.0);
  const auto keep = static_cast<float>(1.0 / (1.0 - p));
  for_rows(x.size(0), [&](int64_t row) {
    const T* from = data<T>(x) + row * x.stride(0);
    T* to = mutable_data<T>(out) + row * width;
    for (int64_t i = 0; i < width; i += 4) {
      const PhiloxBlock random = philox_block(stream, static_cast<uint64_t>(row), static_cast<uint64_t>(i / 4));
      for (int64_t j = i; j < std::min(i + 4, width); ++j) {
        to[j] = random[static_cast<size_t>(j - i)] < threshold ? T{} : scaled(from[j], keep);
      }
    }
  });
}

}  // namespace

at::Tensor dropout(const at::Tensor& x, double p, uint64_t stream) {
  TORCH_CHECK(x.dim() == 2 && x.stride(1) == 1 && p >= 0 && p < 1, "[dropout] x must be [rows, width], 0 <= p < 1");
  at::Tensor out = at::empty(x.sizes(), x.options());
  if (x.scalar_type() == at::kBFloat16) {
    drop<cpu::bf16>(x, p, stream, out);
  } else {
    drop<float>(x, p, stream, out);
  }
  return out;
}

}  // namespace graft::ops
