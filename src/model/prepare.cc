#include "model/prepare.h"

#include <fmt/format.h>

#include <cmath>

#include "formats/safetensors_writer.h"
#include "model/weights.h"
#include "ops/cpu/gemm.h"

namespace graft::model {

namespace {

formats::TensorDeclaration declare(const PreparedTensor& tensor, WeightDType dtype) {
  if (!tensor.packed) return {tensor.name, formats::DType::kF32, {tensor.k}};
  const auto stored = dtype == WeightDType::kBFloat16 ? formats::DType::kBF16 : formats::DType::kF32;
  return {tensor.name, stored, {ops::cpu::packed_elements(tensor.n, tensor.k)}};
}

template <class T>
Status write_packed(const PreparedTensor& tensor, const std::vector<float>& values,
                    formats::SafetensorsWriter& writer) {
  std::vector<T> packed(static_cast<size_t>(ops::cpu::packed_elements(tensor.n, tensor.k)));
  ops::cpu::pack<T>(values.data(), tensor.k, tensor.n, tensor.k, packed.data());
  return writer.write(tensor.name, std::as_bytes(std::span(packed)));
}

Status check_values(const PreparedTensor& tensor, const std::vector<float>& values) {
  if (static_cast<int64_t>(values.size()) != tensor.n * tensor.k) {
    return invalid(
        fmt::format("{}: {} values where the configuration calls for {} x {}: the weights and the "
                    "configuration do not belong together",
                    tensor.source, values.size(), tensor.n, tensor.k));
  }
  for (size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i])) {
      return invalid(fmt::format("{}: value {} is not a finite number: the checkpoint is damaged, fetch it again",
                                 tensor.source, i));
    }
  }
  return {};
}

}  // namespace

std::string shape_summary(const formats::ModelSpec& spec) {
  return fmt::format("vocab {} hidden {} intermediate {} layers {} heads {}/{} head_dim {} tied {}", spec.vocab_size,
                     spec.hidden_size, spec.intermediate_size, spec.num_layers, spec.num_heads, spec.num_kv_heads,
                     spec.head_dim, spec.tie_word_embeddings);
}

const char* weight_dtype_name(WeightDType dtype) { return dtype == WeightDType::kBFloat16 ? "bfloat16" : "float32"; }

std::vector<PreparedTensor> prepared_tensors(const formats::ModelSpec& spec) {
  std::vector<PreparedTensor> tensors;
  tensors.push_back({"embedding", "model.embed_tokens.weight", spec.vocab_size, spec.hidden_size, true});
  for (int64_t layer = 0; layer < spec.num_layers; ++layer) {
    const std::string to = fmt::format("layers.{}.", layer);
    const std::string from = fmt::format("model.layers.{}.", layer);
    tensors.push_back({to + "attention_norm", from + "input_layernorm.weight", 1, spec.hidden_size, false});
    tensors.push_back({to + "mlp_norm", from + "post_attention_layernorm.weight", 1, spec.hidden_size, false});
    for (const Projection p : kProjections) {
      tensors.push_back({to + std::string(projection_name(p)), module_path(layer, p) + ".weight", out_features(spec, p),
                         in_features(spec, p), true});
    }
  }
  tensors.push_back({"final_norm", "model.norm.weight", 1, spec.hidden_size, false});
  if (!spec.tie_word_embeddings) {
    tensors.push_back({"lm_head", "lm_head.weight", spec.vocab_size, spec.hidden_size, true});
  }
  return tensors;
}

Status prepare_weights(const formats::ModelSpec& spec, const ReadTensor& read, WeightDType dtype,
                       const std::filesystem::path& file) {
  const std::vector<PreparedTensor> tensors = prepared_tensors(spec);
  std::vector<formats::TensorDeclaration> declarations;
  for (const PreparedTensor& tensor : tensors) declarations.push_back(declare(tensor, dtype));
  formats::SafetensorsWriterOptions options;
  options.align_tensors = true;
  options.metadata = {{"format", "graft-prepared"},
                      {"layout", kLayoutVersion},
                      {"dtype", weight_dtype_name(dtype)},
                      {"shapes", shape_summary(spec)}};
  GRAFT_TRY(auto writer, formats::SafetensorsWriter::create(file, std::move(declarations), options));
  for (const PreparedTensor& tensor : tensors) {
    GRAFT_TRY(const std::vector<float> values, read(tensor.source));
    GRAFT_CHECK_OK(check_values(tensor, values));
    if (!tensor.packed) {
      GRAFT_CHECK_OK(writer.write(tensor.name, std::as_bytes(std::span(values))));
    } else if (dtype == WeightDType::kBFloat16) {
      GRAFT_CHECK_OK(write_packed<ops::cpu::bf16>(tensor, values, writer));
    } else {
      GRAFT_CHECK_OK(write_packed<float>(tensor, values, writer));
    }
  }
  return writer.commit();
}

}  // namespace graft::model
