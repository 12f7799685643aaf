#pragma once

#include <string>

#include "base/result.h"
#include "recipe/encoded_rows.h"
#include "recipe/prepare.h"
#include "recipe/training_config.h"

namespace graft::recipe {

// What needs all rows, once they are encoded: stratified splits, the labels of a category and their numbers, prompts,
// the digest. Finishes `rows` where that was not done yet. Errors begin with `name`: nothing is left to train on; a
// label that no train row has.
Result<PreparedData> arrange(const TrainingConfig& config, EncodedRows rows, const std::string& name,
                             size_t prompt_count);

}  // namespace graft::recipe
