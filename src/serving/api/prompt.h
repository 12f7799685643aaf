#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "serving/api/api_context.h"
#include "serving/api/api_error.h"
#include "serving/api/json_text.h"

namespace graft::serving::api {

// Raw text, as `tokenizers` reads it: special tokens in it are special, and the post-processor adds its own.
std::vector<int32_t> tokenize_raw(const ApiContext& context, const std::string& text);

// What a chat template renders.
struct Chat {
  OrderedJson messages;
  OrderedJson tools;      // null: none
  OrderedJson documents;  // null: none
  std::string suffix;     // the beginning of the answer, as the template would write it
};

// Variables that every rendering has.
text::ChatTemplateOptions template_options(const ApiConfig& config);

// A chat through the template. Special tokens inside message contents stay plain text, and none are added: the template
// has written them. Errors: kTemplate.
ApiResult<std::vector<int32_t>> tokenize_chat(const ApiContext& context, const Chat& chat);

// Whether prompt and output fit, in LoRAX's words. Returns the most tokens to generate.
ApiResult<int32_t> check_lengths(const ApiContext& context, size_t prompt_tokens,
                                 std::optional<int64_t> max_new_tokens);

uint64_t random_seed();

// The text that one token stands for by itself; special tokens as they are written in the vocabulary.
std::string token_text(const ApiContext& context, int32_t id);

}  // namespace graft::serving::api
