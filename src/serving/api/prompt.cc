#include "serving/api/prompt.h"

#include <random>
#include <utility>

#include "fmt/format.h"

namespace graft::serving::api {

std::vector<int32_t> tokenize_raw(const ApiContext& context, const std::string& text) {
  return context.tokenizer->encode(text).ids;
}

ApiResult<std::vector<int32_t>> tokenize_chat(const ApiContext& context, const OrderedJson& messages) {
  if (context.chat_template == nullptr) {
    return ApiError{Failure::kTemplate, "this model has no chat template", "messages", {}};
  }
  text::ChatTemplateOptions options;
  if (!context.config.bos_token.empty()) options.extra["bos_token"] = context.config.bos_token;
  if (!context.config.eos_token.empty()) options.extra["eos_token"] = context.config.eos_token;
  const auto rendered = context.chat_template->render(messages, options);
  if (!rendered.ok()) return ApiError{Failure::kTemplate, rendered.error().message, "messages", {}};
  const text::EncodeOptions encode{.add_special_tokens = false};
  return context.tokenizer->encode(rendered.value().text, encode, rendered.value().content).ids;
}

ApiResult<int32_t> check_lengths(const ApiContext& context, size_t prompt_tokens,
                                 std::optional<int64_t> max_new_tokens) {
  const int64_t total = context.engine->limits().max_total_tokens;
  const auto prompt = static_cast<int64_t>(prompt_tokens);
  if (prompt == 0) return bad_field("`inputs` cannot be empty", "inputs");
  if (max_new_tokens && prompt + *max_new_tokens > total) {
    return bad_field(fmt::format("`inputs` tokens + `max_new_tokens` must be <= {}. Given: {} `inputs` tokens and {} "
                                 "`max_new_tokens`",
                                 total, prompt, *max_new_tokens),
                     "max_new_tokens");
  }
  if (prompt > context.config.max_input_length) {
    return bad_field(
        fmt::format("`inputs` must have less than {} tokens. Given: {}", context.config.max_input_length, prompt),
        "inputs");
  }
  return static_cast<int32_t>(max_new_tokens.value_or(total - prompt));
}

uint64_t random_seed() {
  std::random_device device;
  return uint64_t{device()} << 32U | device();
}

std::string token_text(const ApiContext& context, int32_t id) {
  if (context.tokenizer->is_special(id)) return context.tokenizer->id_to_token(id);
  return context.tokenizer->decode(std::span(&id, 1), false, /*clean_up_spaces=*/false);
}

}  // namespace graft::serving::api
