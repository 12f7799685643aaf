#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/result.h"
#include "formats/model_spec.h"

namespace graft::formats {

// Hugging Face's config.json as a ModelSpec, by a table with a row per family; `generation` is
// generation_config.json or null: its end-of-sequence ids come first, as in transformers' generate.
// An unknown architecture, a setting that the decoder cannot honour, or a missing size is an error that names the key.
// Keys that nobody here knows are named in a warning.
Result<ModelSpec> spec_from_hf_config(const nlohmann::json& config, const nlohmann::json& generation);

// The same from DIR/config.json and, where it is there, DIR/generation_config.json.
Result<ModelSpec> read_hf_config(const std::filesystem::path& directory);

}  // namespace graft::formats
