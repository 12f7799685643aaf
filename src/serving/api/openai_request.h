#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "serving/api/api_context.h"
#include "serving/api/api_error.h"
#include "serving/api/fields.h"

namespace graft::serving::api {

// What /v1/completions and /v1/chat/completions share.
struct OpenAiRequest {
  std::string model;
  std::string adapter_source;
  std::string api_token;  // for the source of the adapter
  int64_t choices = 1;    // n
  std::optional<int64_t> max_tokens;
  std::chrono::nanoseconds max_time{};  // 0: none
  std::vector<std::string> stop;
  bool stream = false;
  bool include_usage = false;
  bool ignore_eos = false;
  std::optional<uint64_t> seed;
  runtime::SamplingParams sampling;  // without a seed
};

// Reads and checks the shared fields. Unknown ones are ignored; those that would change the output if they were ignored
// (tools, constrained formats) are refused.
ApiResult<OpenAiRequest> parse_openai(const ApiContext& context, Fields& fields);

// The request for one prompt; its seed is still to be set.
ApiResult<GenerationRequest> to_generation(const ApiContext& context, const OpenAiRequest& asked,
                                           std::vector<int32_t> prompt, std::optional<int64_t> max_tokens);

// `count` copies with seeds of their own: the asked one and those after it, or random ones.
void append_choices(std::vector<GenerationRequest>& out, const GenerationRequest& request, std::optional<uint64_t> seed,
                    int64_t count);

}  // namespace graft::serving::api
