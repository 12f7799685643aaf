#include "serving/api/prompt.h"

#include <random>
#include <utility>

#include "fmt/format.h"
#include "serving/api/chat_messages.h"

namespace graft::serving::api {

std::vector<int32_t> tokenize_raw(const ApiContext& context, const std::string& text) {
  return context.tokenizer->encode(text).ids;
}

text::ChatTemplateOptions template_options(const ApiConfig& config) {
  text::ChatTemplateOptions options;
  if (!config.bos_token.empty()) options.extra["bos_token"] = config.bos_token;
  if (!config.eos_token.empty()) options.extra["eos_token"] = config.eos_token;
  return options;
}

ApiResult<std::vector<int32_t>> tokenize_chat(const ApiContext& context, const Chat& chat) {
  if (context.chat_template == nullptr) {
    return ApiError{Failure::kTemplate, "this model has no chat template", "messages", {}};
  }
  text::ChatTemplateOptions options = template_options(context.config);
  options.tools = chat.tools;
  options.documents = chat.documents;
  auto rendered = context.chat_template->render(chat.messages, options);
  if (!rendered.ok()) {
    // A few templates put the arguments of calls together as text themselves.
    OrderedJson as_text = with_arguments_as_text(chat.messages);
    auto again = as_text == chat.messages ? rendered : context.chat_template->render(as_text, options);
    if (!again.ok()) return ApiError{Failure::kTemplate, rendered.error().message, "messages", {}};
    rendered = std::move(again);
  }
  const text::EncodeOptions encode{.add_special_tokens = false};
  return context.tokenizer->encode(rendered->text + chat.suffix, encode, rendered->content).ids;
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
