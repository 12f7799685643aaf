#pragma once

#include <cstdint>

#include "formats/model_spec.h"

// For tests: a Llama small enough to write adapters for by hand.
namespace graft::formats {

inline ModelSpec tiny_spec(int64_t layers) {
  ModelSpec spec;
  spec.architecture = "LlamaForCausalLM";
  spec.vocab_size = 64;
  spec.hidden_size = 16;
  spec.intermediate_size = 24;
  spec.num_layers = layers;
  spec.num_heads = 4;
  spec.num_kv_heads = 2;
  spec.head_dim = 4;
  spec.max_position = 32;
  return spec;
}

}  // namespace graft::formats
