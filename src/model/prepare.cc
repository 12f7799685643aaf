#include "model/prepare.h"

#include <fmt/format.h>

#include <cmath>
#include <utility>

#include "formats/safetensors_writer.h"
#include "model/supported.h"
#include "model/weights.h"

namespace graft::model {

namespace {

constexpr std::pair<WeightDType, const char*> kNames[] = {{WeightDType::kFloat32, "float32"},
                                                          {WeightDType::kBFloat16, "bfloat16"},
                                                          {WeightDType::kInt8, "int8"},
                                                          {WeightDType::kInt4, "int4"}};

formats::TensorDeclaration declare(const PreparedTensor& tensor, WeightDType dtype) {
  if (!tensor.packed) return {tensor.name, formats::DType::kF32, {tensor.k}};
  const ops::LinearWeight weight = stored_as(tensor, dtype);
  const formats::DType stored = stored_dtype(weight);
  const int64_t bytes = ops::stored_bytes(weight, tensor.n, tensor.k);
  return {tensor.name, stored, {bytes / formats::dtype_layout(stored).block_bytes}};
}

Status write_packed(const PreparedTensor& tensor, const std::vector<float>& values, WeightDType dtype,
                    formats::SafetensorsWriter& writer) {
  const ops::LinearWeight weight = stored_as(tensor, dtype);
  std::vector<std::byte> packed(static_cast<size_t>(ops::stored_bytes(weight, tensor.n, tensor.k)));
  ops::pack_rows(weight, values.data(), tensor.n, tensor.k, packed.data());
  return writer.write(tensor.name, packed);
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

const char* weight_dtype_name(WeightDType dtype) {
  for (const auto& [value, name] : kNames) {
    if (value == dtype) return name;
  }
  return "unknown";
}

std::optional<WeightDType> weight_dtype_from_name(std::string_view name) {
  for (const auto& [value, known] : kNames) {
    if (name == known) return value;
  }
  return std::nullopt;
}

ops::LinearWeight stored_as(const PreparedTensor& tensor, WeightDType dtype) {
  ops::LinearWeight weight;
  weight.dtype = dtype == WeightDType::kFloat32 ? at::kFloat : at::kBFloat16;
  const bool whole_vocabulary = tensor.name == "embedding" || tensor.name == "lm_head";
  if (dtype == WeightDType::kInt8 || (dtype == WeightDType::kInt4 && whole_vocabulary)) {
    weight.format = ops::cpu::WeightFormat::kInt8;
  } else if (dtype == WeightDType::kInt4) {
    weight.format = ops::cpu::WeightFormat::kInt4;
  }
  weight.in_features = tensor.k;
  return weight;
}

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
  GRAFT_CHECK_OK(supported_by_decoder(spec));
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
    if (tensor.packed) {
      GRAFT_CHECK_OK(write_packed(tensor, values, dtype, writer));
    } else {
      GRAFT_CHECK_OK(writer.write(tensor.name, std::as_bytes(std::span(values))));
    }
  }
  return writer.commit();
}

}  // namespace graft::model
