#include "model/dora.h"

#include <ATen/ops/from_blob.h>
#include <ATen/ops/mm.h>

#include <algorithm>
#include <cmath>

#include "ops/cpu/parallel.h"

namespace graft::model {

namespace {

at::Tensor view(std::span<float> values, int64_t rows) {
  return at::from_blob(values.data(), {rows, static_cast<int64_t>(values.size()) / rows},
                       at::TensorOptions().dtype(at::kFloat));
}

// ||w + s b A||^2 = ||w||^2 + 2 s b . (A w) + s^2 b (A A^T) b^T: W + s B A itself is never formed.
std::vector<float> norms_of(Adapter& adapter, size_t target, const Weights& weights) {
  const AdapterTarget& t = adapter.targets()[target];
  const at::Tensor w = dense_weight(weights, t.layer, t.projection);
  const at::Tensor a = view(adapter.a(target), t.rank);
  const at::Tensor aw = at::mm(a, w.t()).contiguous();    // [rank, out]
  const at::Tensor aa = at::mm(a, a.t()).contiguous();    // [rank, rank]
  const float* bt = adapter.b_transposed(target).data();  // [rank, out]
  const int64_t out = w.size(0);
  const int64_t in = w.size(1);
  std::vector<float> norms(static_cast<size_t>(out));
  ops::cpu::parallel_for(out, [&](int64_t j) {
    const float* row = w.const_data_ptr<float>() + j * in;
    double squares = 0;
    for (int64_t i = 0; i < in; ++i) squares += static_cast<double>(row[i]) * row[i];
    double cross = 0;
    double own = 0;
    for (int64_t r = 0; r < t.rank; ++r) {
      const double b = bt[r * out + j];
      cross += b * aw.const_data_ptr<float>()[r * out + j];
      for (int64_t q = 0; q < t.rank; ++q) own += b * bt[q * out + j] * aa.const_data_ptr<float>()[r * t.rank + q];
    }
    const double scale = t.scale;
    norms[static_cast<size_t>(j)] =
        static_cast<float>(std::sqrt(std::max(squares + 2 * scale * cross + scale * scale * own, 1e-30)));
  });
  return norms;
}

}  // namespace

void refresh_norms(Adapter& adapter, const Weights& weights) {
  if (adapter.kind() != AdapterKind::kDora) return;
  for (size_t i = 0; i < adapter.targets().size(); ++i) adapter.set_norms(i, norms_of(adapter, i, weights));
}

void initialise_magnitudes(Adapter& adapter, const Weights& weights) {
  if (adapter.kind() != AdapterKind::kDora) return;
  for (size_t i = 0; i < adapter.targets().size(); ++i) {
    const std::vector<float> norms = norms_of(adapter, i, weights);
    std::ranges::copy(norms, adapter.magnitude(i).begin());
    adapter.set_norms(i, norms);
  }
}

}  // namespace graft::model
