#pragma once

#include <optional>

#include "serving/api/adapter_resolver.h"
#include "serving/api/api_context.h"
#include "serving/api/native_request.h"

namespace graft::serving::api {

struct NativePlan {
  GenerationRequest request;
  std::optional<AdapterMerge> merge;  // then the request's adapter is what it becomes
  int32_t best_of = 1;
  bool sampling = false;  // false: greedy, and no seed is reported
};

// LoRAX's rules in LoRAX's order and words, then the tokens. `streaming` adds what streams cannot do.
ApiResult<NativePlan> plan_native(const ApiContext& context, const NativeRequest& request, bool streaming);

}  // namespace graft::serving::api
