#include "formats/merged_weights.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/strings.h"
#include "formats/dequantise.h"
#include "formats/model_sources.h"
#include "formats/pieces.h"

namespace graft::formats {
namespace {

struct Factors {
  std::vector<float> a;          // [r, in]
  std::vector<float> b;          // [out, r]
  std::vector<float> magnitude;  // [out], or empty
};

Result<Factors> read_factors(const AdapterModule& module) {
  Factors factors;
  GRAFT_TRY(factors.a, read_weight(module.a));
  GRAFT_TRY(factors.b, read_weight(module.b));
  if (module.magnitude) {
    GRAFT_TRY(factors.magnitude, read_weight(*module.magnitude));
  }
  return factors;
}

// row += scale * b A. The product is complete before it is scaled, as in PEFT. `change` is scratch of the row's size.
void add_change(const AdapterSlot& slot, const float* b, const std::vector<float>& a, std::span<float> row,
                std::vector<float>& change) {
  std::fill(change.begin(), change.end(), 0.0F);
  for (int64_t j = 0; j < slot.r; ++j) {
    const float* from = a.data() + j * slot.in;
    for (size_t i = 0; i < row.size(); ++i) change[i] += b[j] * from[i];
  }
  const auto scale = static_cast<float>(slot.scale);
  for (size_t i = 0; i < row.size(); ++i) row[i] += scale * change[i];
}

void set_length(std::span<float> row, float length) {
  double squares = 0;
  for (const float value : row) squares += double{value} * double{value};
  const auto factor = static_cast<float>(double{length} / std::sqrt(squares));
  for (float& value : row) value *= factor;
}

}  // namespace

Status fold_module(const AdapterModule& module, std::span<float> weight) {
  const AdapterSlot& slot = module.slot;
  if (static_cast<int64_t>(weight.size()) != slot.in * slot.out) {
    return internal_error("module '" + slot.path + "': its weight has another size than its adapter");
  }
  GRAFT_TRY(const Factors factors, read_factors(module));
  const auto width = static_cast<size_t>(slot.in);
  constexpr int64_t kPieceProducts = int64_t{1} << 22;  // about a millisecond
  const int64_t rows = std::clamp<int64_t>(kPieceProducts / (slot.in * slot.r), 1, slot.out);
  for_each_piece(static_cast<size_t>((slot.out + rows - 1) / rows), [&](size_t piece) {
    std::vector<float> change(width);
    const int64_t first = static_cast<int64_t>(piece) * rows;
    for (int64_t row = first; row < std::min(first + rows, slot.out); ++row) {
      const std::span<float> values = weight.subspan(static_cast<size_t>(row) * width, width);
      add_change(slot, factors.b.data() + row * slot.r, factors.a, values, change);
      if (!factors.magnitude.empty()) set_length(values, factors.magnitude[static_cast<size_t>(row)]);
    }
  });
  return {};
}

MergedWeights::MergedWeights(Read read_base, PeftAdapter adapter)
    : read_base_(std::move(read_base)), adapter_(std::move(adapter)) {
  for (size_t i = 0; i < adapter_.modules().size(); ++i) places_[adapter_.modules()[i].slot.path + ".weight"] = i;
}

Result<MergedWeights> MergedWeights::open(const ModelSource& base, const std::filesystem::path& adapter,
                                          Read read_base) {
  GRAFT_TRY(PeftAdapter opened, PeftAdapter::open(adapter, base.spec(), {.dora = true}));
  if (!read_base) read_base = [&base](const std::string& name) { return base.read(name); };
  MergedWeights merged(std::move(read_base), std::move(opened));
  std::vector<std::string> names = base.tensor_names();
  std::sort(names.begin(), names.end());
  for (const auto& [name, unused] : merged.places_) {
    if (std::binary_search(names.begin(), names.end(), name)) continue;
    return unsupported(adapter.string() + ": changes '" + printable(name) +
                       "', which the base model ties to another weight; a merge would change both");
  }
  return merged;
}

Result<std::vector<float>> MergedWeights::read(const std::string& name) const {
  GRAFT_TRY(std::vector<float> values, read_base_(name));
  const auto place = places_.find(name);
  if (place == places_.end()) return values;
  GRAFT_CHECK_OK(fold_module(adapter_.modules()[place->second], values));
  if (const int64_t bad = find_non_finite(values); bad >= 0) {
    return invalid("tensor '" + printable(name) + "': element " + std::to_string(bad) +
                   " of the merge is NaN or infinite; the adapter is broken, or made for another base model");
  }
  return values;
}

}  // namespace graft::formats
