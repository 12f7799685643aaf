#pragma once

#include <optional>
#include <vector>

#include "serving/api/api_context.h"
#include "serving/api/json_text.h"

namespace graft::serving::api {

OrderedJson native_token(const ApiContext& context, const GeneratedToken& token, bool with_alternatives);

// `details` of a whole answer. `best_of` holds the sequences that were not chosen; null where best_of was not used.
struct NativeSequence {
  const GenerationResult* result = nullptr;
  std::optional<uint64_t> seed;
};
OrderedJson native_details(const ApiContext& context, const NativeSequence& chosen,
                           const std::vector<NativeSequence>& others, const std::string& text_prefix,
                           bool with_alternatives);

OrderedJson native_stream_details(const GenerationResult& result, std::optional<uint64_t> seed);

// Mean logprob of the generated tokens: what best_of compares.
double mean_logprob(const GenerationResult& result);

}  // namespace graft::serving::api
