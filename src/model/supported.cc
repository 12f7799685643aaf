#include "model/supported.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <string>
#include <vector>

#include "formats/model_features.h"

namespace graft::model {

Status supported_by_decoder(const formats::ModelSpec& spec) {
  if (spec.num_heads % spec.num_kv_heads != 0) {
    return invalid(
        fmt::format("{} query heads are no multiple of {} key/value heads", spec.num_heads, spec.num_kv_heads));
  }
  std::vector<std::string> beyond = formats::features_beyond_llama(spec);
  if (spec.qkv_bias || spec.output_bias || spec.mlp_bias) {
    beyond.emplace_back("projections with a bias (attention_bias, mlp_bias)");
  }
  if (!beyond.empty()) {
    return unsupported(
        fmt::format("{}: not supported by the decoder yet: {}", spec.architecture, fmt::join(beyond, ", ")));
  }
  if (spec.head_dim % 16 != 0 || spec.head_dim > 256) {
    return unsupported(
        fmt::format("head_dim {}: the attention kernels need a multiple of 16 up to 256", spec.head_dim));
  }
  if (spec.hidden_size % 2 != 0 || spec.intermediate_size % 2 != 0) {
    return unsupported("hidden_size and intermediate_size must be even");
  }
  return {};
}

}  // namespace graft::model
