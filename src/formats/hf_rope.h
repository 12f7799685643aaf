#pragma once

#include "base/result.h"
#include "formats/hf_families.h"
#include "formats/json_fields.h"
#include "formats/model_spec.h"

namespace graft::formats {

// Rotary positions as config.json has them. transformers 5 writes rope_parameters (theta inside), older versions
// rope_theta and rope_scaling. Unknown kinds are errors that name those that are known.
Result<RopeSpec> read_hf_rope(const JsonFields& fields, const Family& family, const ModelSpec& sizes);

}  // namespace graft::formats
