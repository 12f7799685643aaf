#include <algorithm>
#include <array>

#include "base/strings.h"
#include "formats/checked_size.h"
#include "formats/gguf_model.h"
#include "formats/model_exports.h"
#include "formats/model_features.h"
#include "formats/quantise.h"

namespace graft::formats {
namespace {

// What other programs call the family, and how they order the rows of Q and K.
struct GgufFamily {
  std::string_view model_type;
  std::string_view architecture;
  bool interleaved_rotary;  // neighbouring rows rotate together
};
constexpr std::array kGgufFamilies = {GgufFamily{"llama", "llama", true}, GgufFamily{"mistral", "llama", true}};

Result<const GgufFamily*> family_of(const ModelSpec& spec) {
  std::vector<std::string> known;
  for (const GgufFamily& family : kGgufFamilies) {
    if (family.model_type == spec.model_type) return &family;
    known.emplace_back(family.model_type);
  }
  return unsupported("models of type '" + printable(spec.model_type) +
                     "' cannot be written as GGUF; supported: " + join(known, ", "));
}

// Numbers of llama.cpp's llama_ftype.
uint32_t file_type_of(ExportType type) {
  switch (type) {
    case ExportType::kF32:
      return 0;
    case ExportType::kF16:
      return 1;
    case ExportType::kQ8_0:
      return 7;
    case ExportType::kQ4K:
      return 15;
    case ExportType::kBF16:
      break;
  }
  return 32;
}

std::string model_name(const std::filesystem::path& path) {
  const std::filesystem::path clean = path.has_filename() ? path : path.parent_path();
  return clean.extension() == ".gguf" ? clean.stem().string() : clean.filename().string();
}

void add_rope(const RopeSpec& rope, int64_t head_dim, const std::string& prefix, GgufFields& fields) {
  fields.add_u32(prefix + "rope.dimension_count", static_cast<uint32_t>(head_dim));
  fields.add_f32(prefix + "rope.freq_base", static_cast<float>(rope.theta));
  if (rope.kind != RopeKind::kLinear) return;  // Llama 3's is a tensor
  fields.add_text(prefix + "rope.scaling.type", "linear");
  fields.add_f32(prefix + "rope.scaling.factor", static_cast<float>(rope.factor));
}

GgufFields architecture_fields(const ModelSource& source, const GgufFamily& family, ExportType type) {
  const ModelSpec& spec = source.spec();
  const std::string prefix = std::string(family.architecture) + ".";
  const auto number = [&](GgufFields& fields, const char* key, int64_t value) {
    fields.add_u32(prefix + key, static_cast<uint32_t>(value));
  };
  GgufFields fields;
  fields.add_text("general.architecture", family.architecture);
  fields.add_text("general.type", "model");
  fields.add_text("general.name", printable(model_name(source.path())));
  fields.add_u32("general.file_type", file_type_of(type));
  fields.add_u32("general.quantization_version", 2);
  number(fields, "vocab_size", spec.vocab_size);
  number(fields, "context_length", spec.max_position);
  number(fields, "embedding_length", spec.hidden_size);
  number(fields, "block_count", spec.num_layers);
  number(fields, "feed_forward_length", spec.intermediate_size);
  number(fields, "attention.head_count", spec.num_heads);
  number(fields, "attention.head_count_kv", spec.num_kv_heads);
  number(fields, "attention.key_length", spec.head_dim);
  number(fields, "attention.value_length", spec.head_dim);
  fields.add_f32(prefix + "attention.layer_norm_rms_epsilon", static_cast<float>(spec.norm_eps));
  add_rope(spec.rope, spec.head_dim, prefix, fields);
  return fields;
}

// A tensor of the file and where its values come from.
struct Planned {
  TensorDeclaration declaration;
  WeightShape weight;  // no name: the rope factors
  int64_t rotary_heads = 0;
};

int64_t rotary_heads_of(const std::string& name, const ModelSpec& spec) {
  if (name.find(".self_attn.q_proj.") != std::string::npos) return spec.num_heads;
  return name.find(".self_attn.k_proj.") != std::string::npos ? spec.num_kv_heads : 0;
}

constexpr const char* kRopeFactors = "rope_freqs.weight";

Result<std::vector<Planned>> plan(const ModelSpec& spec, const GgufFamily& family, ExportType type) {
  std::vector<Planned> planned;
  if (spec.rope.kind == RopeKind::kLlama3) {
    planned.push_back({{kRopeFactors, DType::kF32, {spec.head_dim / 2}}, {}, 0});
  }
  for (WeightShape& weight : weight_shapes(spec)) {
    const auto name = gguf_name_of_hf(weight.name);
    if (!name) return unsupported("tensor '" + printable(weight.name) + "' has no name in GGUF");
    const DType dtype = gguf_dtype_of(type, *name, weight.shape, spec);
    const int64_t heads = family.interleaved_rotary ? rotary_heads_of(weight.name, spec) : 0;
    planned.push_back({{*name, dtype, weight.shape}, std::move(weight), heads});
  }
  return planned;
}

// The inverse of what gguf_source.cc does: row t * half + j of a head goes to 2j + t.
std::vector<float> interleave_rotary(const std::vector<float>& rows, int64_t heads, int64_t columns) {
  std::vector<float> out(rows.size());
  const int64_t head_dim = static_cast<int64_t>(rows.size()) / heads / columns;
  const int64_t half = head_dim / 2;
  for (int64_t row = 0; row < heads * head_dim; ++row) {
    const int64_t head = row / head_dim;
    const int64_t in_head = row % head_dim;
    const int64_t to = head * head_dim + 2 * (in_head % half) + in_head / half;
    std::copy_n(rows.begin() + row * columns, columns, out.begin() + to * columns);
  }
  return out;
}

Result<std::vector<float>> values_of(const Planned& planned, const ModelSource& source, const ExportOptions& options) {
  const ModelSpec& spec = source.spec();
  if (planned.weight.name.empty()) {
    const std::vector<double> divisors = llama3_rope_divisors(spec.rope, spec.head_dim);
    return std::vector<float>(divisors.begin(), divisors.end());
  }
  GRAFT_TRY(std::vector<float> values, read_for_export(source, options, planned.weight));
  if (planned.rotary_heads == 0) return values;
  const int64_t columns = planned.weight.shape.size() == 2 ? planned.weight.shape[1] : 1;
  return interleave_rotary(values, planned.rotary_heads, columns);
}

// In pieces of whole rows, so that the written form of a large tensor is not in memory as a whole.
Status write_tensor(const TensorDeclaration& tensor, std::span<const float> values, GgufWriter& writer) {
  constexpr int64_t kPieceElements = int64_t{1} << 24;
  const DTypeLayout layout = dtype_layout(tensor.dtype);
  const int64_t width = tensor.shape.back();
  const int64_t piece = std::max<int64_t>(1, kPieceElements / width) * width;
  const auto total = static_cast<int64_t>(values.size());
  std::vector<std::byte> bytes;
  for (int64_t begin = 0; begin < total; begin += piece) {
    const int64_t count = std::min(piece, total - begin);
    bytes.resize(static_cast<size_t>(count / layout.block_elements * layout.block_bytes));
    const auto part = values.subspan(static_cast<size_t>(begin), static_cast<size_t>(count));
    if (const Status status = quantise(part, tensor.dtype, bytes); !status.ok()) {
      return at("tensor '" + printable(tensor.name) + "'", status.error());
    }
    GRAFT_CHECK_OK(writer.write(tensor.name, bytes));
  }
  return {};
}

}  // namespace

Result<ExportSummary> export_gguf(const ModelSource& source, const std::filesystem::path& file,
                                  const ExportOptions& options) {
  GRAFT_TRY(const GgufFamily* const family, family_of(source.spec()));
  if (const auto beyond = features_beyond_llama(source.spec()); !beyond.empty()) {
    return unsupported("a GGUF file of a model with " + join(beyond, ", ") + " is not supported");
  }
  GRAFT_TRY(const std::vector<Planned> planned, plan(source.spec(), *family, options.type));
  GgufFields fields = architecture_fields(source, *family, options.type);
  GRAFT_CHECK_OK(add_gguf_tokenizer(source, fields));
  ExportSummary summary{{file}, {}, 0};
  std::vector<TensorDeclaration> declarations;
  for (const Planned& entry : planned) {
    const TensorDeclaration& tensor = entry.declaration;
    declarations.push_back(tensor);
    ++summary.tensors_as[std::string(dtype_name(tensor.dtype))];
    summary.weight_bytes += tensor_bytes(tensor.dtype, tensor.shape).value_or(0);
  }
  GRAFT_TRY(GgufWriter writer, GgufWriter::create(file, fields, std::move(declarations)));
  for (const Planned& entry : planned) {
    GRAFT_TRY(const std::vector<float> values, values_of(entry, source, options));
    GRAFT_CHECK_OK(write_tensor(entry.declaration, values, writer));
  }
  GRAFT_CHECK_OK(writer.commit());
  return summary;
}

}  // namespace graft::formats
