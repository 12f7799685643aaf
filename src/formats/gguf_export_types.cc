#include <charconv>

#include "formats/model_exports.h"

namespace graft::formats {
namespace {

constexpr int64_t kBlock = 32;
constexpr int64_t kSuperBlock = 256;

bool ends_with_weight(std::string_view name) { return name.ends_with(".weight"); }

// Matrices that are not norms; as they are few and small, everything else stays F32.
bool is_matrix(std::string_view name, const std::vector<int64_t>& shape) {
  return shape.size() >= 2 && ends_with_weight(name) && !name.ends_with("_norm.weight");
}

// N of "blk.N.".
int64_t layer_of(std::string_view name) {
  int64_t layer = 0;
  if (name.starts_with("blk.")) std::from_chars(name.data() + 4, name.data() + name.size(), layer);
  return layer;
}

// The first and the last eighth of the layers, and every third between them.
bool deserves_more_bits(int64_t layer, int64_t layers) {
  return layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2;
}

DType wanted_for_q4k(std::string_view name, int64_t width, const ModelSpec& spec) {
  if (name == "output.weight" || (name == "token_embd.weight" && spec.tie_word_embeddings)) {
    return width % kSuperBlock == 0 ? DType::kQ6K : DType::kQ8_0;
  }
  const bool value = name.find(".attn_v.") != std::string_view::npos;
  const bool down = name.find(".ffn_down.") != std::string_view::npos;
  if ((value || down) && deserves_more_bits(layer_of(name), spec.num_layers)) return DType::kQ6K;
  // The models of 80 layers share few, so narrow, value heads; more bits there cost little.
  constexpr int64_t kLayersOf70B = 80;
  return value && spec.num_layers == kLayersOf70B ? DType::kQ5K : DType::kQ4K;
}

// A row that is not whole blocks is written in a kind with smaller ones.
DType fitting(DType wanted, int64_t width) {
  if (width % dtype_layout(wanted).block_elements == 0) return wanted;
  DType smaller = wanted;
  if (wanted == DType::kQ4K || wanted == DType::kQ5K) smaller = DType::kQ5_0;
  if (wanted == DType::kQ6K) smaller = DType::kQ8_0;
  return width % kBlock == 0 ? smaller : DType::kF16;
}

}  // namespace

DType gguf_dtype_of(ExportType type, std::string_view gguf_name, const std::vector<int64_t>& shape,
                    const ModelSpec& spec) {
  if (!is_matrix(gguf_name, shape)) return DType::kF32;
  switch (type) {
    case ExportType::kF32:
      return DType::kF32;
    case ExportType::kF16:
      return DType::kF16;
    case ExportType::kBF16:
      return DType::kBF16;
    case ExportType::kQ8_0:
      return fitting(DType::kQ8_0, shape.back());
    case ExportType::kQ4K:
      return fitting(wanted_for_q4k(gguf_name, shape.back(), spec), shape.back());
  }
  return DType::kF32;
}

}  // namespace graft::formats
