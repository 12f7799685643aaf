#pragma once

#include <string_view>

namespace graft::formats {

// How queries, keys and values share one projection, if they do.
enum class QkvLayout {
  kSeparate,
  kConcatenated,  // all of q, then k, then v
  kByHead,        // q, k, v of one head after the other
  kByGroup,       // the queries of one key-value head, its key, its value
};

// Under which names Hugging Face's checkpoints keep the weights of a family: without ".weight" and ".bias". Names of a
// layer are below `layer` and its number. Empty: the family has no such weight.
struct WeightNames {
  std::string_view key = {};  // what ModelSpec::weights says
  std::string_view embedding = {};
  std::string_view positions = {};  // learned ones
  std::string_view embedding_norm = {};
  std::string_view layer = {};  // "model.layers."

  std::string_view attention_norm = {};       // before attention (kPre, kParallel)
  std::string_view attention_post_norm = {};  // behind it (kPost)
  std::string_view mlp_norm = {};
  std::string_view mlp_post_norm = {};

  QkvLayout qkv_layout = QkvLayout::kSeparate;
  std::string_view q = {}, k = {}, v = {};  // kSeparate
  std::string_view qkv = {};                // otherwise
  std::string_view o = {};
  std::string_view q_norm = {}, k_norm = {};

  std::string_view gate = {}, up = {}, down = {};
  std::string_view gate_up = {};  // gate, then up, in one

  std::string_view router = {};   // of a mixture of experts
  std::string_view experts = {};  // "mlp.experts.", then the number, "." and the three names
  std::string_view expert_gate = {}, expert_up = {}, expert_down = {};
  std::string_view shared_expert = {};  // "mlp.shared_expert."
  std::string_view shared_expert_gate = {};

  std::string_view final_norm = {};
  std::string_view lm_head = {};
  bool transposed = false;  // linear layers are stored [in, out], GPT-2's Conv1D
};

// nullptr for a key that is not known.
const WeightNames* weight_names(std::string_view key);

}  // namespace graft::formats
