#pragma once

#include "serving/api/api_context.h"
#include "serving/api/native_request.h"

namespace graft::serving::api {

struct NativePlan {
  GenerationRequest request;
  int32_t best_of = 1;
  bool sampling = false;  // false: greedy, and no seed is reported
};

// LoRAX's rules in LoRAX's order and words, then the tokens. `streaming` adds what streams cannot do.
ApiResult<NativePlan> plan_native(const ApiContext& context, const NativeRequest& request, bool streaming);

}  // namespace graft::serving::api
