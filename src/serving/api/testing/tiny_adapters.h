#pragma once

#include <filesystem>

#include "formats/model_spec.h"

namespace graft::serving::api::testing {

// A base model of a few thousand parameters, for adapters that are looked at but never run.
formats::ModelSpec tiny_base();

// Writes a LoRA adapter of it on q_proj and v_proj; its values depend on the seed.
void write_tiny_adapter(const std::filesystem::path& directory, int64_t rank, unsigned seed);

}  // namespace graft::serving::api::testing
