#include "formats/peft_merge.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <map>
#include <utility>

#include "base/digest.h"
#include "base/strings.h"
#include "formats/dequantise.h"
#include "formats/model_sources.h"

namespace graft::formats {
namespace {

// A module of one of the adapters.
struct Piece {
  const AdapterModule* module = nullptr;
  const MergePart* part = nullptr;
  size_t place = 0;  // of the part among the parts
};

std::string shown(const MergePart& part) { return "adapter '" + printable(part.name) + "'"; }

Status check_parts(std::span<const MergePart> parts, const TensorMerge& merge) {
  if (parts.empty()) return invalid("a merge needs at least one adapter");
  for (const MergePart& part : parts) {
    if (!std::isfinite(part.weight)) return invalid("the weight of " + shown(part) + " is not finite");
  }
  const bool prunes = merge.method != MergeMethod::kLinear && merge.method != MergeMethod::kCat;
  if (prunes && parts.size() > 1 && !(merge.density > 0 && merge.density <= 1)) {
    return invalid("the density of a " + std::string(merge_method_name(merge.method)) +
                   " merge must be above 0 and at most 1");
  }
  return {};
}

// By path; the paths in the order in which they are first met.
struct Modules {
  std::vector<std::string> order;
  std::map<std::string, std::vector<Piece>> pieces;
};
Modules modules_of(std::span<const MergePart> parts) {
  Modules modules;
  for (size_t place = 0; place < parts.size(); ++place) {
    for (const AdapterModule& module : parts[place].adapter->modules()) {
      auto& pieces = modules.pieces[module.slot.path];
      if (pieces.empty()) modules.order.push_back(module.slot.path);
      pieces.push_back({&module, &parts[place], place});
    }
  }
  return modules;
}

Status check_finite(const std::vector<float>& values, const std::string& path) {
  if (find_non_finite(values) < 0) return {};
  return invalid("module '" + path + "': the merge overflows; use smaller weights");
}

Result<MergedModule> concatenate(const std::vector<Piece>& pieces) {
  const AdapterSlot& first = pieces.front().module->slot;
  MergedModule out{first.path, 0, first.in, first.out, {}, {}};
  for (const Piece& piece : pieces) out.r += piece.module->slot.r;
  out.b.resize(static_cast<size_t>(out.out * out.r));
  int64_t column = 0;
  for (const Piece& piece : pieces) {
    GRAFT_TRY(const std::vector<float> a, read_weight(piece.module->a));
    GRAFT_TRY(const std::vector<float> b, read_weight(piece.module->b));
    const auto weight = static_cast<float>(piece.part->weight);
    const auto scale = static_cast<float>(piece.module->slot.scale);
    for (const float value : a) out.a.push_back(value * weight * scale);
    const int64_t r = piece.module->slot.r;
    for (int64_t row = 0; row < out.out; ++row) {
      std::copy_n(b.begin() + row * r, r, out.b.begin() + row * out.r + column);
    }
    column += r;
  }
  return out;
}

Status check_same_rank(const std::vector<Piece>& pieces, MergeMethod method) {
  const Piece& first = pieces.front();
  for (const Piece& piece : pieces) {
    if (piece.module->slot.r == first.module->slot.r) continue;
    return invalid(std::string(merge_method_name(method)) + " merges adapters of the same rank only, but " +
                   shown(*first.part) + " has rank " + std::to_string(first.module->slot.r) + " and " +
                   shown(*piece.part) + " has rank " + std::to_string(piece.module->slot.r) + " at '" +
                   first.module->slot.path + "'; merge_strategy cat merges any ranks");
  }
  return {};
}

// Does not depend on which other modules there are.
uint64_t stream_of(const Piece& piece, char factor) {
  const std::string name = std::to_string(piece.place) + ":" + factor + ":" + piece.module->slot.path;
  return std::stoull(sha256_hex(name).substr(0, 16), nullptr, 16);
}

Result<std::vector<float>> merge_factor(const std::vector<Piece>& pieces, char factor, const TensorMerge& merge) {
  std::vector<std::vector<float>> tensors;
  std::vector<float> weights;
  std::vector<uint64_t> streams;
  for (const Piece& piece : pieces) {
    const double weight = piece.part->weight * piece.module->slot.scale;
    const double root = std::sqrt(std::fabs(weight));
    weights.push_back(static_cast<float>(factor == 'A' && weight < 0 ? -root : root));
    GRAFT_TRY(std::vector<float> values, read_weight(factor == 'A' ? piece.module->a : piece.module->b));
    tensors.push_back(std::move(values));
    streams.push_back(stream_of(piece, factor));
  }
  return merge_tensors(std::move(tensors), weights, streams, merge);
}

Result<MergedModule> merge_module(const std::vector<Piece>& pieces, const TensorMerge& merge) {
  if (merge.method == MergeMethod::kCat) return concatenate(pieces);
  GRAFT_CHECK_OK(check_same_rank(pieces, merge.method));
  const AdapterSlot& slot = pieces.front().module->slot;
  GRAFT_TRY(std::vector<float> a, merge_factor(pieces, 'A', merge));
  GRAFT_TRY(std::vector<float> b, merge_factor(pieces, 'B', merge));
  return MergedModule{slot.path, slot.r, slot.in, slot.out, std::move(a), std::move(b)};
}

// Names every module by its whole path. alpha equals the rank, so that the scale is 1.
PeftConfig config_of(const MergedAdapter& merged, const PeftConfig& first) {
  PeftConfig config;
  config.r = 0;
  config.base_model_name_or_path = first.base_model_name_or_path;
  for (const MergedModule& module : merged.modules) {
    config.r = std::max(config.r, module.r);
    config.target_modules.names.push_back(module.path);
  }
  config.lora_alpha = static_cast<double>(config.r);
  for (const MergedModule& module : merged.modules) {
    if (module.r == config.r) continue;
    std::string pattern;
    for (const char c : module.path) pattern += c == '.' ? std::string("\\.") : std::string(1, c);
    config.rank_pattern.emplace_back(pattern, module.r);
    config.alpha_pattern.emplace_back(pattern, static_cast<double>(module.r));
  }
  return config;
}

}  // namespace

Result<MergedAdapter> merge_adapters(std::span<const MergePart> parts, const TensorMerge& merge) {
  GRAFT_CHECK_OK(check_parts(parts, merge));
  TensorMerge effective = merge;
  if (parts.size() == 1) effective.method = MergeMethod::kLinear;
  const Modules modules = modules_of(parts);
  MergedAdapter merged;
  for (const std::string& path : modules.order) {
    GRAFT_TRY(MergedModule module, merge_module(modules.pieces.at(path), effective));
    GRAFT_CHECK_OK(check_finite(module.a, path));
    GRAFT_CHECK_OK(check_finite(module.b, path));
    merged.modules.push_back(std::move(module));
  }
  merged.config = config_of(merged, parts.front().adapter->config());
  return merged;
}

Status write_merged_adapter(const std::filesystem::path& destination, const MergedAdapter& adapter) {
  std::vector<AdapterFactors> factors;
  for (const MergedModule& module : adapter.modules) {
    factors.push_back({module.path, module.r, module.in, module.out, module.a, module.b});
  }
  return write_peft_adapter(destination, adapter.config, factors);
}

}  // namespace graft::formats
