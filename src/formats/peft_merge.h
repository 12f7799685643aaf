#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "formats/peft_adapter.h"
#include "formats/tensor_merge.h"

namespace graft::formats {

// One of the adapters of a merge. `name` is what errors call it.
struct MergePart {
  const PeftAdapter* adapter = nullptr;
  double weight = 1;  // finite; may be negative
  std::string name;
};

struct MergedModule {
  std::string path;
  int64_t r = 0, in = 0, out = 0;
  std::vector<float> a, b;  // [r, in], [out, r]
};

// An adapter of its own, with scale 1 throughout.
struct MergedAdapter {
  PeftConfig config;
  std::vector<MergedModule> modules;
};

// Merges adapters of one base model as PEFT's add_weighted_adapter does, module by module, over those adapters that
// have the module. kCat multiplies A by weight * scale and puts the factors side by side: exact, for any ranks. The
// other methods merge A and B apart, by sqrt(|weight * scale|) each with the sign on A; every module must have one
// rank. A single adapter is always merged linearly. DARE's streams are named by module, factor and the adapter's place,
// so the result is a function of the seed and the adapters alone. Where it differs from PEFT: the result's scale is 1
// even if the first adapter is an rsLoRA (PEFT's has sqrt(r) there); target modules may be names in one adapter and an
// expression in another; DoRA adapters are refused. Errors: invalid (no adapters, unequal ranks, weights that are not
// finite, values that overflow), unsupported.
Result<MergedAdapter> merge_adapters(std::span<const MergePart> parts, const TensorMerge& merge);

// As write_peft_adapter.
Status write_merged_adapter(const std::filesystem::path& destination, const MergedAdapter& adapter);

}  // namespace graft::formats
