#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/json.h"
#include "base/strings.h"
#include "formats/checked_size.h"
#include "formats/model_exports.h"
#include "formats/quantise.h"
#include "formats/safetensors_writer.h"

namespace graft::formats {
namespace {

using nlohmann::ordered_json;

// What a Hugging Face directory keeps of the source's own, beside config.json.
constexpr std::array<std::string_view, 10> kKeptFiles = {
    "generation_config.json",  "tokenizer.json",      "tokenizer_config.json",
    "special_tokens_map.json", "chat_template.jinja", "chat_template.json",
    "tokenizer.model",         "vocab.json",          "merges.txt",
    "added_tokens.json"};

const char* torch_name(DType dtype) {
  if (dtype == DType::kF32) return "float32";
  return dtype == DType::kF16 ? "float16" : "bfloat16";
}

Result<std::string> config_with_dtype(const fs::path& path, DType dtype) {
  GRAFT_TRY(const std::string text, read_file(path));
  auto config = parse_ordered_json(text);
  if (!config.ok()) return at(path.string(), config.error());
  // transformers renamed the key; the one that is there is kept.
  const char* key = config->contains("dtype") && !config->contains("torch_dtype") ? "dtype" : "torch_dtype";
  (*config)[key] = torch_name(dtype);
  return config->dump(2) + "\n";
}

Result<std::vector<TextFile>> text_files(const ModelSource& source, ExportType type, DType dtype) {
  if (!fs::is_directory(source.path())) return make_hf_text_files(source, type);
  std::vector<TextFile> files;
  GRAFT_TRY(std::string config, config_with_dtype(source.path() / "config.json", dtype));
  files.push_back({"config.json", std::move(config)});
  for (const std::string_view name : kKeptFiles) {
    const fs::path path = source.path() / name;
    if (!fs::exists(path)) continue;
    GRAFT_TRY(std::string content, read_file(path));
    files.push_back({std::string(name), std::move(content)});
  }
  if (!fs::exists(source.path() / "generation_config.json")) {
    files.push_back({"generation_config.json", generation_config_json(source.spec())});
  }
  return files;
}

struct Shard {
  std::vector<WeightShape> weights;
  int64_t bytes = 0;
};

std::vector<Shard> split_into_shards(std::vector<WeightShape> weights, DType dtype, int64_t most_bytes) {
  std::vector<Shard> shards(1);
  for (WeightShape& weight : weights) {
    const int64_t bytes = tensor_bytes(dtype, weight.shape).value_or(0);
    if (shards.back().bytes > 0 && shards.back().bytes + bytes > most_bytes) shards.emplace_back();
    shards.back().bytes += bytes;
    shards.back().weights.push_back(std::move(weight));
  }
  return shards;
}

std::string shard_name(size_t number, size_t count) {
  if (count == 1) return "model.safetensors";
  return fmt::format("model-{:05}-of-{:05}.safetensors", number + 1, count);
}

Status write_shard(const fs::path& path, const Shard& shard, DType dtype, const ModelSource& source,
                   const ExportOptions& options) {
  std::vector<TensorDeclaration> declarations;
  for (const WeightShape& weight : shard.weights) declarations.push_back({weight.name, dtype, weight.shape});
  SafetensorsWriterOptions writer_options;
  writer_options.metadata["format"] = "pt";  // transformers insists on it
  GRAFT_TRY(SafetensorsWriter writer, SafetensorsWriter::create(path, std::move(declarations), writer_options));
  constexpr size_t kPieceElements = size_t{1} << 24;
  const auto width = static_cast<size_t>(dtype_layout(dtype).block_bytes);
  std::vector<std::byte> bytes;
  for (const WeightShape& weight : shard.weights) {
    GRAFT_TRY(const std::vector<float> values, read_for_export(source, options, weight));
    for (size_t begin = 0; begin < values.size(); begin += kPieceElements) {
      const auto piece = std::span(values).subspan(begin, std::min(kPieceElements, values.size() - begin));
      bytes.resize(piece.size() * width);
      if (const Status status = quantise(piece, dtype, bytes); !status.ok()) {
        return at("tensor '" + printable(weight.name) + "'", status.error());
      }
      GRAFT_CHECK_OK(writer.write(weight.name, bytes));
    }
  }
  return writer.commit();
}

std::string index_json(const std::vector<Shard>& shards) {
  int64_t total = 0;
  std::map<std::string, std::string> map;
  for (size_t i = 0; i < shards.size(); ++i) {
    total += shards[i].bytes;
    for (const WeightShape& weight : shards[i].weights) map[weight.name] = shard_name(i, shards.size());
  }
  return ordered_json{{"metadata", {{"total_size", total}}}, {"weight_map", map}}.dump(2) + "\n";
}

}  // namespace

Result<DType> safetensors_dtype(ExportType type) {
  switch (type) {
    case ExportType::kF32:
      return DType::kF32;
    case ExportType::kF16:
      return DType::kF16;
    case ExportType::kBF16:
      return DType::kBF16;
    default:
      return unsupported("safetensors has no type " + std::string(export_type_name(type)) +
                         "; use f32, f16 or bf16, or --format gguf");
  }
}

Result<ExportSummary> export_safetensors(const ModelSource& source, const fs::path& directory,
                                         const ExportOptions& options) {
  GRAFT_TRY(const DType dtype, safetensors_dtype(options.type));
  GRAFT_CHECK_OK(check_vacant(directory));
  GRAFT_TRY(const std::vector<TextFile> texts, text_files(source, options.type, dtype));
  const std::vector<Shard> shards = split_into_shards(source.weights(), dtype, options.max_shard_bytes);
  GRAFT_TRY(AtomicDirectory out, AtomicDirectory::create(directory));
  for (const TextFile& file : texts) GRAFT_CHECK_OK(write_file_atomic(out.path() / file.name, file.content));
  ExportSummary summary;
  for (size_t i = 0; i < shards.size(); ++i) {
    const std::string name = shard_name(i, shards.size());
    GRAFT_CHECK_OK(write_shard(out.path() / name, shards[i], dtype, source, options));
    summary.files.push_back(directory / name);
    summary.weight_bytes += shards[i].bytes;
    summary.tensors_as[std::string(dtype_name(dtype))] += static_cast<int64_t>(shards[i].weights.size());
  }
  if (shards.size() > 1) {
    GRAFT_CHECK_OK(write_file_atomic(out.path() / "model.safetensors.index.json", index_json(shards)));
  }
  GRAFT_CHECK_OK(out.publish());
  return summary;
}

}  // namespace graft::formats
