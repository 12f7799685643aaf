#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "formats/model_spec.h"

namespace graft::formats {

// Sizes that are positive, divide where they must, and whose products stay within 64 bits. Everything that makes a
// ModelSpec from outside calls it, so that later code need not.
Status check_spec(const ModelSpec& spec);

// A weight that the architecture needs, under the name that Hugging Face's checkpoints use.
struct WeightShape {
  std::string name;            // "model.layers.0.self_attn.q_proj.weight"
  std::vector<int64_t> shape;  // Linear: [out, in]
};

// Every weight in the order of the forward pass; no lm_head.weight where embeddings are tied.
std::vector<WeightShape> weight_shapes(const ModelSpec& spec);

// A linear layer by its module path ("model.layers.3.self_attn.q_proj"), as adapters name their targets.
struct LinearModule {
  std::string path;
  int64_t in = 0;
  int64_t out = 0;
};

// Every linear layer, decoder layer by decoder layer: q, k, v (or what they share), o, then gate, up, down or the
// router and the experts; at the end lm_head (tied or not).
std::vector<LinearModule> linear_modules(const ModelSpec& spec);

// "model.layers.": what stands in front of a layer's number.
std::string layer_prefix(const ModelSpec& spec);

}  // namespace graft::formats
