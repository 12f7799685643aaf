#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "formats/tensor_merge.h"
#include "grammar/grammar.h"
#include "serving/api/api_error.h"
#include "serving/api/fields.h"

namespace graft::serving::api {

// LoRAX's `parameters`, types checked, values not yet. Numbers that LoRAX treats differently when absent are optional.
struct NativeParameters {
  std::optional<std::string> adapter_id, adapter_source, api_token;
  struct Merged {
    std::vector<std::string> ids;
    std::vector<double> weights;
    formats::TensorMerge settings;  // density 0: not given
  };
  std::optional<Merged> merged_adapters;
  std::optional<int64_t> best_of, top_k, return_k_alternatives, max_new_tokens, truncate;
  std::optional<double> max_time;  // seconds
  std::optional<double> temperature, repetition_penalty, frequency_penalty, presence_penalty, top_p, typical_p;
  std::optional<uint64_t> seed;
  std::vector<std::string> stop;
  bool do_sample = false, watermark = false, ignore_eos_token = false, details = false;
  bool decoder_input_details = false, return_full_text = false, apply_chat_template = false;
  std::optional<grammar::GrammarSpec> constraint;  // response_format
};

struct NativeRequest {
  std::string inputs;
  NativeParameters parameters;
  bool stream = false;
};

// Unknown fields are ignored, as LoRAX does. `text`: what `body` was read from.
ApiResult<NativeRequest> parse_native(const Json& body, std::string_view text);

}  // namespace graft::serving::api
