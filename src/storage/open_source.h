#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "formats/model_source.h"

namespace graft::storage {

// The weights as they came of a model: one that was imported, by name, or a Hugging Face directory or .gguf file by its
// path. Prepared weights are in the kernels' own form, and rounded; so the source of an imported model must still be
// there, as it was: a conflict otherwise.
Result<std::unique_ptr<formats::ModelSource>> open_model_source(const std::string& name_or_path);

}  // namespace graft::storage
