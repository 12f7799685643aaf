#include "training/lora_session/pissa.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linalg_qr.h>
#include <ATen/ops/linalg_svd.h>
#include <ATen/ops/mm.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <exception>
#include <numbers>
#include <string>
#include <tuple>

#include "base/philox.h"
#include "ops/cpu/parallel.h"

namespace graft::training {

namespace {

// More directions than are asked for make the last ones exact (Halko et al. 2011).
constexpr int64_t kOversampling = 8;

struct Triplets {
  at::Tensor u, s, vt;  // [out, rank], [rank], [rank, in]
};

at::Tensor gaussian(int64_t rows, int64_t columns, uint64_t seed, uint64_t stream) {
  at::Tensor values = at::empty({rows, columns}, at::TensorOptions().dtype(at::kFloat));
  auto* to = values.mutable_data_ptr<float>();
  PhiloxStream random(seed, stream);
  for (int64_t i = 0; i < values.numel(); ++i) {
    const double radius = std::sqrt(-2.0 * std::log(1.0 - random.next_double()));
    to[i] = static_cast<float>(radius * std::cos(2.0 * std::numbers::pi * random.next_double()));
  }
  return values;
}

Triplets first_of(const std::tuple<at::Tensor, at::Tensor, at::Tensor>& svd, int64_t rank) {
  const auto& [u, s, vt] = svd;
  return {u.narrow(1, 0, rank), s.narrow(0, 0, rank), vt.narrow(0, 0, rank)};
}

// By subspace iteration: a few products with W in place of the whole decomposition.
Triplets approximate(const at::Tensor& w, int64_t rank, int64_t iterations, uint64_t seed, uint64_t stream) {
  const int64_t width = std::min(rank + kOversampling, std::min(w.size(0), w.size(1)));
  at::Tensor q = std::get<0>(at::linalg_qr(at::mm(w, gaussian(w.size(1), width, seed, stream))));
  for (int64_t i = 0; i < iterations; ++i) {
    q = std::get<0>(at::linalg_qr(at::mm(w.t(), q)));
    q = std::get<0>(at::linalg_qr(at::mm(w, q)));
  }
  Triplets small = first_of(at::linalg_svd(at::mm(q.t(), w), false), rank);
  small.u = at::mm(q, small.u);
  return small;
}

void set_factors(model::Adapter& adapter, size_t target, const Triplets& triplets) {
  const int64_t rank = triplets.s.size(0);
  const at::Tensor ut = triplets.u.t().contiguous();  // [rank, out]
  const at::Tensor vt = triplets.vt.contiguous();
  const int64_t out = ut.size(1);
  const int64_t in = vt.size(1);
  float* a = adapter.a(target).data();
  float* bt = adapter.b_transposed(target).data();
  for (int64_t r = 0; r < rank; ++r) {
    const double s = triplets.s.const_data_ptr<float>()[r];
    const auto root = static_cast<float>(std::sqrt(std::max(s, 0.0) / adapter.targets()[target].scale));
    for (int64_t i = 0; i < in; ++i) {
      a[r * in + i] = a[(rank + r) * in + i] = root * vt.const_data_ptr<float>()[r * in + i];
    }
    for (int64_t i = 0; i < out; ++i) {
      bt[r * out + i] = root * ut.const_data_ptr<float>()[r * out + i];
      bt[(rank + r) * out + i] = -bt[r * out + i];
    }
  }
}

void initialise_target(model::Adapter& adapter, size_t target, const model::Weights& weights,
                       const PissaSettings& settings, uint64_t seed) {
  const at::NoGradGuard no_grad;
  const model::AdapterTarget& t = adapter.targets()[target];
  const at::Tensor w = model::dense_weight(weights, t.layer, t.projection);
  const int64_t rank = t.rank / 2;
  const Triplets triplets = settings.iterations == 0 ? first_of(at::linalg_svd(w, false), rank)
                                                     : approximate(w, rank, settings.iterations, seed, target);
  set_factors(adapter, target, triplets);
}

Status check_rank(const model::Adapter& adapter, const model::AdapterTarget& t) {
  const formats::ModelSpec& spec = adapter.spec();
  const int64_t most = std::min(model::in_features(spec, t.projection), model::out_features(spec, t.projection));
  if (t.rank / 2 <= most) return {};
  return invalid(
      fmt::format("adapter.init_lora_weights: the rank {} is more than the {} singular values of {}; lower adapter.r, "
                  "or adapter.rank_pattern for it",
                  t.rank / 2, most, model::module_path(t.layer, t.projection)));
}

}  // namespace

Status initialise_pissa(model::Adapter& adapter, const model::Weights& weights, const PissaSettings& settings,
                        uint64_t seed) {
  const auto count = adapter.targets().size();
  for (const model::AdapterTarget& target : adapter.targets()) GRAFT_CHECK_OK(check_rank(adapter, target));
  std::vector<std::string> failures(count);
  ops::cpu::parallel_for(static_cast<int64_t>(count), [&](int64_t i) {
    try {
      initialise_target(adapter, static_cast<size_t>(i), weights, settings, seed);
    } catch (const std::exception& e) {
      const std::string text = e.what();
      failures[static_cast<size_t>(i)] = text.substr(0, text.find('\n')) + " ";
    }
  });
  for (size_t i = 0; i < count; ++i) {
    if (failures[i].empty()) continue;
    const model::AdapterTarget& t = adapter.targets()[i];
    return internal_error(fmt::format("the singular values of {} could not be computed: {}",
                                      model::module_path(t.layer, t.projection), failures[i]));
  }
  return {};
}

std::vector<FrozenRange> frozen_halves(model::Adapter& adapter) {
  const float* masters = adapter.masters().const_data_ptr<float>();
  std::vector<FrozenRange> ranges;
  for (size_t i = 0; i < adapter.targets().size(); ++i) {
    for (const std::span<float> factor : {adapter.a(i), adapter.b_transposed(i)}) {
      const int64_t begin = factor.data() - masters;
      const auto size = static_cast<int64_t>(factor.size());
      ranges.push_back({begin + size / 2, begin + size});
    }
  }
  return ranges;
}

}  // namespace graft::training
