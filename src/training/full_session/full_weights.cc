#include "training/full_session/full_weights.h"

#include <ATen/ops/empty.h>

#include <cstring>

#include "model/prepare.h"
#include "ops/cpu/parallel.h"

namespace graft::training {

namespace {

bool quantised(const ops::LinearWeight& weight) { return weight.format != ops::cpu::WeightFormat::kDense; }

bool any_quantised(const model::Weights& weights) {
  if (quantised(weights.embedding) || quantised(weights.lm_head)) return true;
  for (const model::LayerWeights& layer : weights.layers) {
    for (const ops::LinearWeight& linear : layer.linears) {
      if (quantised(linear)) return true;
    }
  }
  return false;
}

}  // namespace

Result<FullWeights> FullWeights::copy_of(const model::Weights& base, const formats::ModelSpec& spec) {
  if (any_quantised(base)) {
    return unsupported(
        "training all weights: quantised ones cannot be trained; set trainer.dtype to bfloat16 or float32");
  }
  FullWeights full;
  full.lay_out(spec);
  full.copy(base);
  model::release_pages(base);
  return full;
}

void FullWeights::lay_out(const formats::ModelSpec& spec) {
  tied_ = spec.tie_word_embeddings;
  int64_t elements = 0;
  int64_t values = 0;
  for (const model::PreparedTensor& tensor : model::prepared_tensors(spec)) {
    if (tensor.packed) {
      matrices_.push_back({tensor.source, elements, tensor.n, tensor.k});
      elements += ops::cpu::packed_elements(tensor.n, tensor.k);
    } else {
      vectors_.push_back({tensor.source, values, tensor.n, tensor.k});
      values += tensor.k;
    }
  }
  elements_ = elements;
  values_ = at::empty({values}, at::TensorOptions().dtype(at::kFloat));
}

size_t FullWeights::matrix(int64_t layer, model::Linear which, int64_t part) {
  size_t place = 1 + static_cast<size_t>(layer) * model::kProjections.size();
  for (const model::Projection projection : model::kProjections) {
    const model::ProjectionPlace at = model::place_of(projection);
    if (at.linear == which && at.part == part) break;
    ++place;
  }
  return place;
}

void FullWeights::copy(const model::Weights& base) {
  weights_ = base;
  weights_.file = nullptr;
  copy_matrices(base);
  const auto take = [&](const FullParameter& vector, at::Tensor& norm) {
    at::Tensor to = values_.narrow(0, vector.offset, vector.k);
    to.copy_(base.dtype == at::kBFloat16 ? norm.to(at::kBFloat16) : norm);
    norm = to;
  };
  for (size_t i = 0; i < weights_.layers.size(); ++i) {
    take(vectors_[norm(static_cast<int64_t>(i), false)], weights_.layers[i].attention_norm);
    take(vectors_[norm(static_cast<int64_t>(i), true)], weights_.layers[i].mlp_norm);
  }
  take(vectors_[final_norm()], weights_.final_norm);
}

void FullWeights::copy_matrices(const model::Weights& base) {
  packed_ = at::empty({elements_}, at::TensorOptions().dtype(base.dtype));
  const auto owner = std::make_shared<at::Tensor>(packed_);
  auto* memory = static_cast<char*>(packed_.mutable_data_ptr());
  const auto width = static_cast<int64_t>(packed_.element_size());
  const auto take = [&](size_t first, ops::LinearWeight& weight) {
    for (size_t part = 0; part < weight.parts.size(); ++part) {
      const FullParameter& matrix = matrices_[first + part];
      char* to = memory + matrix.offset * width;
      std::memcpy(to, weight.parts[part].packed,
                  static_cast<size_t>(ops::cpu::packed_elements(matrix.n, matrix.k) * width));
      weight.parts[part].packed = to;
    }
    weight.owner = owner;
  };
  take(embedding(), weights_.embedding);
  for (size_t i = 0; i < weights_.layers.size(); ++i) {
    for (const model::Linear which : {model::kQkv, model::kOut, model::kGateUp, model::kDownLinear}) {
      take(matrix(static_cast<int64_t>(i), which, 0), weights_.layers[i].linears[which]);
    }
  }
  if (tied_) {
    weights_.lm_head = weights_.embedding;
  } else {
    take(lm_head(), weights_.lm_head);
  }
}

Result<std::vector<float>> FullWeights::read(const std::string& name) const {
  for (const FullParameter& vector : vectors_) {
    if (vector.name != name) continue;
    const float* from = values_.const_data_ptr<float>() + vector.offset;
    return std::vector<float>(from, from + vector.k);
  }
  for (const FullParameter& matrix : matrices_) {
    if (matrix.name != name) continue;
    std::vector<float> rows(static_cast<size_t>(matrix.n * matrix.k));
    ops::LinearWeight weight;
    weight.dtype = weights_.dtype;
    weight.in_features = matrix.k;
    const auto width = static_cast<int64_t>(packed_.element_size());
    const ops::cpu::WeightPart part{static_cast<const char*>(packed_.const_data_ptr()) + matrix.offset * width,
                                    matrix.n, 0};
    ops::cpu::parallel_for((matrix.n + 15) / 16, [&](int64_t panel) {
      for (int64_t row = panel * 16; row < std::min(matrix.n, panel * 16 + 16); ++row) {
        ops::read_row(weight, part, row, rows.data() + row * matrix.k);
      }
    });
    return rows;
  }
  return not_found("no weight '" + name + "'");
}

}  // namespace graft::training
