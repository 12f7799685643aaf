#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "runtime/divergence.h"

namespace graft::engine {

struct MergeCheck {
  std::string model;  // the base, as load_model takes it
  std::filesystem::path adapter;
  std::filesystem::path merged;                     // what export_safetensors wrote
  std::string dtype;                                // of the merged weights: bfloat16, float16, float32
  std::string base_dtype;                           // int8 or int4: what the base is held in; else empty
  std::optional<std::vector<std::string>> prompts;  // default: see check_merge
};

// The lines of a text file that are not empty.
Result<std::vector<std::string>> read_prompts(const std::filesystem::path& file);

// Runs base and adapter beside the merged weights, both in bfloat16 where those are, else in float32 (the base in
// base_dtype where that is given), over the prompts; by
// default over the texts of the adapter's certificate.json, where it has one, else a few built-in ones. The merged
// weights are made ready in $GRAFT_HOME/cache, and removed from there again.
Result<runtime::Divergence> check_merge(const MergeCheck& check);

}  // namespace graft::engine
