#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "formats/model_source.h"
#include "model/prepare.h"

namespace graft::engine {

// A weight of the source as an engine of `dtype` holds it: quantised, and widened to float32 again. Norms and other
// weights that are not quantised come as they are. What an adapter that was trained over such a base is merged into.
Result<std::vector<float>> read_as_held(const formats::ModelSource& source, const std::string& name,
                                        model::WeightDType dtype);

}  // namespace graft::engine
