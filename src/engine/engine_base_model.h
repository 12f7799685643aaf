#pragma once

#include "base/result.h"
#include "training/base_model.h"

namespace graft::engine {

// The torch side of what the training verbs need.
Result<std::unique_ptr<training::BaseModel>> open_base_model(const training::BaseModelRequest& request);

}  // namespace graft::engine
