#include "serving/api/openai_prompts.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "fmt/format.h"
#include "serving/api/prompt.h"

namespace graft::serving::api {
namespace {

std::optional<std::vector<int32_t>> token_ids(const ApiContext& context, const Json& array) {
  std::vector<int32_t> ids;
  for (const Json& item : array) {
    if (!item.is_number_integer()) return std::nullopt;
    const auto id = item.get<int64_t>();
    if (id < 0 || id >= context.tokenizer->vocab_size()) return std::nullopt;
    ids.push_back(static_cast<int32_t>(id));
  }
  return ids;
}

// A string or token ids.
std::optional<Prompt> read_one_prompt(const ApiContext& context, const Json& value) {
  if (value.is_string()) {
    const auto text = value.get<std::string>();
    return Prompt{text, tokenize_raw(context, text)};
  }
  if (!value.is_array()) return std::nullopt;
  auto ids = token_ids(context, value);
  if (!ids) return std::nullopt;
  std::string text = context.tokenizer->decode(*ids, false, /*clean_up_spaces=*/false);
  return Prompt{std::move(text), std::move(*ids)};
}

}  // namespace

std::vector<Prompt> read_prompts(const ApiContext& context, Fields& fields, const char* name, size_t most) {
  const std::string must =
      fmt::format("must be a string, an array of strings, an array of token ids (0 to {}) or an array of such arrays",
                  context.tokenizer->vocab_size() - 1);
  std::vector<Prompt> prompts;
  const Json* value = fields.any(name);
  if (value == nullptr) {
    fields.fail(name, "is missing");
    return prompts;
  }
  const bool many = value->is_array() && !value->empty() && (value->front().is_string() || value->front().is_array());
  const auto add = [&](const Json& item) {
    auto prompt = read_one_prompt(context, item);
    if (prompt) prompts.push_back(std::move(*prompt));
    return prompt.has_value();
  };
  if (many && value->size() > most) {
    fields.fail(name, fmt::format("may hold up to {} prompts. Given: {}", most, value->size()));
  } else if (!(many ? std::all_of(value->begin(), value->end(), add) : add(*value))) {
    fields.fail(name, must);
  }
  return prompts;
}

}  // namespace graft::serving::api
