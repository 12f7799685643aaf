#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "formats/model_spec.h"
#include "model/adapter.h"
#include "model/weights.h"
#include "ops/attention.h"

namespace graft::model {

// How a layer's attention reads keys and values: packed segments while training, paged blocks while serving. It is the
// one thing that differs between the two.
class AttentionContext {
 public:
  virtual ~AttentionContext() = default;
  // qkv [tokens, (heads + 2 kv_heads) * head_dim], before rotation; may be overwritten -> [tokens, heads * head_dim]
  virtual at::Tensor attend(int64_t layer, at::Tensor& qkv, const ops::AttentionShape& shape,
                            const ops::RopeTable& rope) = 0;
};

// Rows [row_begin, row_end) of the batch use `adapter`; rows of no segment the base model.
struct AdapterSegment {
  int64_t row_begin = 0, row_end = 0;
  const Adapter* adapter = nullptr;
};

// Takes the gradients of a decoder's own weights where these are trained. Called in the backward pass, for each weight
// when nothing of the pass reads it any more: from then on it may change.
class WeightGradients {
 public:
  enum class Norm { kAttention, kMlp };
  virtual ~WeightGradients() = default;
  // The gradient of a fused product's weight is dy^T x: x [tokens, in], dy [tokens, out] of the model's dtype.
  virtual void linear(int64_t layer, Linear which, const at::Tensor& x, const at::Tensor& dy) = 0;
  virtual void norm(int64_t layer, Norm which, const at::Tensor& gradient) = 0;  // [hidden] float32
};

// The decoder of every family that ModelSpec can describe. One forward for training, serving, scoring: ragged input
// without padding.
class Decoder {
 public:
  // Refuses a spec whose shapes the kernels cannot run.
  static Result<Decoder> create(formats::ModelSpec spec, Weights weights);

  // -> the residual stream after the last layer, [tokens, hidden] float32. `track` records gradients.
  at::Tensor forward(std::span<const int32_t> tokens, AttentionContext& attention,
                     std::span<const AdapterSegment> segments, bool track = false) const;
  // The same from embeddings on, for who changes them on the way: [tokens, hidden] float32, without history.
  at::Tensor forward_embedded(at::Tensor embeddings, AttentionContext& attention,
                              std::span<const AdapterSegment> segments, bool track = false) const;
  [[nodiscard]] at::Tensor embed(std::span<const int32_t> tokens) const;  // -> [tokens, hidden] float32
  // One layer: residual stream in, residual stream out, [tokens, hidden] float32.
  at::Tensor layer(int64_t index, const at::Tensor& residual, AttentionContext& attention,
                   std::span<const AdapterSegment> segments) const;
  // The same with weights that are trained, without adapters. `known`: what the layer is known to return, in place of
  // its last product; undefined: nothing.
  at::Tensor trained_layer(int64_t index, const at::Tensor& residual, AttentionContext& attention,
                           WeightGradients& gradients, const at::Tensor& known = {}) const;
  // Rows of the residual stream -> what the output projection reads, [rows, hidden] of the model's dtype.
  [[nodiscard]] at::Tensor final_norm(const at::Tensor& rows) const;
  // -> [rows, vocab] float32, written into `out` (of at least that size).
  void logits(const at::Tensor& normed, at::Tensor& out) const;

  [[nodiscard]] const formats::ModelSpec& spec() const { return spec_; }
  [[nodiscard]] const Weights& weights() const { return weights_; }
  [[nodiscard]] ops::AttentionShape attention_shape() const;
  [[nodiscard]] at::ScalarType dtype() const { return weights_.dtype; }

 private:
  Decoder(formats::ModelSpec spec, Weights weights);

  formats::ModelSpec spec_;
  Weights weights_;
  ops::RopeTable rope_;
};

// Cosines and sines as transformers computes them for the spec's kind of rotary embedding.
ops::RopeTable make_rope_table(const formats::ModelSpec& spec);

// Whole sequences, gradients flow.
class PackedContext : public AttentionContext {
 public:
  explicit PackedContext(std::vector<int32_t> cu_seqlens) : cu_seqlens_(std::move(cu_seqlens)) {}
  at::Tensor attend(int64_t layer, at::Tensor& qkv, const ops::AttentionShape& shape,
                    const ops::RopeTable& rope) override;

 private:
  std::vector<int32_t> cu_seqlens_;
};

}  // namespace graft::model
