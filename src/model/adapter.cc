#include "model/adapter.h"

#include <ATen/ops/zeros.h>

#include <algorithm>
#include <tuple>

#include "ops/cpu/parallel.h"
#include "ops/dtype.h"

namespace graft::model {

namespace {

int64_t even(int64_t rank) { return rank + (rank & 1); }

int64_t aligned(int64_t bytes) { return (bytes + 63) / 64 * 64; }

int64_t linear_inputs(const formats::ModelSpec& spec, size_t which) {
  for (const Projection p : kProjections) {
    if (place_of(p).linear == which) return in_features(spec, p);
  }
  return 0;
}

}  // namespace

Adapter::Adapter(const formats::ModelSpec& spec, std::vector<AdapterTarget> targets, at::ScalarType dtype,
                 bool trainable, AdapterKind kind, int64_t extra)
    : spec_(spec), targets_(std::move(targets)), dtype_(dtype), trainable_(trainable), kind_(kind), extra_(extra) {
  lay_out();
}

// Offsets and pointers. Masters of one fused product lie together: the stacked A of its parts, then each B transposed.
void Adapter::lay_out() {
  std::sort(targets_.begin(), targets_.end(), [](const AdapterTarget& x, const AdapterTarget& y) {
    return std::tuple(x.layer, x.projection) < std::tuple(y.layer, y.projection);
  });
  places_.resize(targets_.size());
  layers_.resize(static_cast<size_t>(spec_.num_layers));
  int64_t masters = 0;
  for (size_t first = 0; first < targets_.size();) {
    const auto key = [&](size_t i) { return std::tuple(targets_[i].layer, place_of(targets_[i].projection).linear); };
    size_t last = first;
    while (last < targets_.size() && key(last) == key(first)) ++last;
    ops::LoraLinear& lora = layers_[static_cast<size_t>(targets_[first].layer)][std::get<1>(key(first))];
    for (size_t i = first; i < last; ++i) {
      const AdapterTarget& target = targets_[i];
      places_[i].a = masters;
      masters += even(target.rank) * in_features(spec_, target.projection);
      ops::LoraPart part;
      part.part = place_of(target.projection).part;
      part.column = lora.total_rank;
      part.rank = even(target.rank);
      part.scale = target.scale;
      lora.total_rank += part.rank;
      lora.scales.resize(static_cast<size_t>(lora.total_rank), target.scale);
      lora.parts.push_back(part);
    }
    lora.scales.resize(
        static_cast<size_t>((lora.total_rank + ops::cpu::kPanel - 1) / ops::cpu::kPanel * ops::cpu::kPanel));
    for (size_t i = first; i < last; ++i) {
      places_[i].bt = masters;
      masters += even(targets_[i].rank) * out_features(spec_, targets_[i].projection);
    }
    for (size_t i = first; i < last && kind_ == AdapterKind::kDora; ++i) {
      const int64_t out = out_features(spec_, targets_[i].projection);
      places_[i].m = masters;
      places_[i].scales = static_cast<int64_t>(scales_.size());
      masters += out;
      scales_.resize(scales_.size() + static_cast<size_t>(2 * out));
    }
    first = last;
  }
  const auto options = at::TensorOptions().dtype(at::kFloat);
  masters_ = at::zeros({masters + extra_}, options);
  if (trainable_) gradients_ = at::zeros({masters + extra_}, options);
}

std::span<float> Adapter::a(size_t target) {
  const AdapterTarget& t = targets_[target];
  return {masters_.mutable_data_ptr<float>() + places_[target].a,
          static_cast<size_t>(t.rank * in_features(spec_, t.projection))};
}

std::span<float> Adapter::b_transposed(size_t target) {
  const AdapterTarget& t = targets_[target];
  return {masters_.mutable_data_ptr<float>() + places_[target].bt,
          static_cast<size_t>(t.rank * out_features(spec_, t.projection))};
}

std::span<float> Adapter::magnitude(size_t target) {
  if (kind_ != AdapterKind::kDora) return {};
  const int64_t out = out_features(spec_, targets_[target].projection);
  return {masters_.mutable_data_ptr<float>() + places_[target].m, static_cast<size_t>(out)};
}

std::span<float> Adapter::extra() {
  return {masters_.mutable_data_ptr<float>() + masters_.numel() - extra_, static_cast<size_t>(extra_)};
}

std::span<float> Adapter::extra_gradient() {
  return {gradients_.mutable_data_ptr<float>() + gradients_.numel() - extra_, static_cast<size_t>(extra_)};
}

void Adapter::set_norms(size_t target, std::span<const float> norms) {
  const std::span<const float> m = magnitude(target);
  float* scales = scales_.data() + places_[target].scales;
  for (size_t i = 0; i < m.size(); ++i) {
    scales[i] = m[i] / norms[i];
    scales[m.size() + i] = 1.0F / norms[i];
  }
}

template <class T>
void Adapter::repack_as() {
  // Jobs first, pointers after: the buffer is sized by what the jobs need.
  struct Job {
    const float* from;
    int64_t n, k;     // packed as [n, k]
    bool transposed;  // `from` is [k, n]
    const void** to;
    int64_t offset;
  };
  std::vector<Job> jobs;
  int64_t bytes = 0;
  const auto add = [&](const float* from, int64_t n, int64_t k, bool transposed, const void*& to) {
    jobs.push_back({from, n, k, transposed, &to, bytes});
    bytes += aligned(ops::cpu::packed_elements(n, k) * static_cast<int64_t>(sizeof(T)));
  };
  const float* masters = masters_.const_data_ptr<float>();
  float* gradients = trainable_ ? gradients_.mutable_data_ptr<float>() : nullptr;
  size_t target = 0;
  for (auto& layer : layers_) {
    for (size_t which = 0; which < kLinears; ++which) {
      ops::LoraLinear& lora = layer[which];
      if (lora.parts.empty()) continue;
      const int64_t in = linear_inputs(spec_, which);
      if (trainable_) {
        add(masters + places_[target].a, in, lora.total_rank, true, lora.at);
        lora.grad_a = gradients + places_[target].a;
      }
      add(masters + places_[target].a, lora.total_rank, in, false, lora.a);
      for (ops::LoraPart& part : lora.parts) {
        const int64_t out = out_features(spec_, targets_[target].projection);
        const Place& place = places_[target];
        add(masters + place.bt, out, part.rank, true, part.b);
        if (trainable_) {
          add(masters + place.bt, part.rank, out, false, part.bt);
          part.grad_bt = gradients + place.bt;
        }
        if (kind_ == AdapterKind::kDora) {
          part.column_scales = scales_.data() + place.scales;
          part.inverse_norms = part.column_scales + out;
          if (trainable_) part.grad_magnitude = gradients + place.m;
        }
        ++target;
      }
    }
  }
  if (!packed_.defined()) packed_ = at::zeros({bytes}, at::TensorOptions().dtype(at::kByte));
  auto* base = packed_.mutable_data_ptr<uint8_t>();
  ops::cpu::parallel_for(static_cast<int64_t>(jobs.size()), [&](int64_t i) {
    const Job& job = jobs[static_cast<size_t>(i)];
    auto* to = static_cast<T*>(static_cast<void*>(base + job.offset));
    *job.to = to;
    if (job.transposed) {
      ops::cpu::pack_transpose<T>(job.from, job.n, job.n, job.k, to);
    } else {
      ops::cpu::pack<T>(job.from, job.k, job.n, job.k, to);
    }
  });
}

void Adapter::repack() {
  if (dtype_ == at::kBFloat16) {
    repack_as<ops::cpu::bf16>();
  } else {
    repack_as<float>();
  }
}

void Adapter::drop_masters() { masters_ = at::Tensor(); }

void Adapter::set_dropout(float p, uint64_t stream) {
  uint64_t index = 0;
  for (auto& layer : layers_) {
    for (ops::LoraLinear& lora : layer) {
      lora.dropout = p;
      // Every product draws its own mask: odd multipliers keep the streams apart.
      lora.dropout_stream = stream * 0x9E3779B97F4A7C15ULL + ++index;
    }
  }
}

int64_t Adapter::bytes() const {
  int64_t total = packed_.defined() ? packed_.numel() : 0;
  if (masters_.defined()) total += masters_.numel() * 4;
  if (gradients_.defined()) total += gradients_.numel() * 4;
  total += static_cast<int64_t>(scales_.size() * sizeof(float));
  return total;
}

int64_t Adapter::parameters() const {
  int64_t total = 0;
  for (const AdapterTarget& t : targets_) {
    total += t.rank * (in_features(spec_, t.projection) + out_features(spec_, t.projection));
    if (kind_ == AdapterKind::kDora) total += out_features(spec_, t.projection);
  }
  return total;
}

}  // namespace graft::model
