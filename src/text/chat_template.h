#pragma once

#include <cstdint>
#include <ctime>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/tokenizer.h"

namespace graft::text {

struct ChatTemplateOptions {
  bool add_generation_prompt = true;
  nlohmann::ordered_json tools;      // null, or an array of tool definitions
  nlohmann::ordered_json documents;  // null, or an array of objects ({"title", "text"}) to answer from
  nlohmann::ordered_json extra =
      nlohmann::ordered_json::object();  // further template variables (bos_token, eos_token, ...)
  std::optional<std::tm> now;            // what strftime_now formats; nothing: this machine's local time
  std::string name;                      // which of a model's templates; empty: see ChatTemplate::compile
  uint64_t most_steps = 20'000'000;      // evaluated nodes and visited items; more is an error
};

struct RenderedChat {
  std::string text;
  // The bytes that came from strings of messages, tools and documents, however they were cut, trimmed or quoted on the
  // way; but not the names of usual roles, of which templates build special tokens. Pass on to Tokenizer::encode.
  std::vector<ProtectedSpan> content = {};
  // What {% generation %} blocks printed, which is what the assistant said: byte ranges, sorted and disjoint.
  std::vector<ProtectedSpan> generated = {};
  bool marks_generation = false;  // the template has such blocks, so `generated` says all there is to say
};

// One for every token of the rendered text: whether it overlaps a span of `generated`. As transformers'
// return_assistant_tokens_mask, but for the last tokens of characters that are several tokens, which count too.
std::vector<uint8_t> token_mask(const Encoding& encoding, const std::vector<ProtectedSpan>& spans);

// Hugging Face's dialect of Jinja, as transformers' apply_chat_template runs it. Bounded in steps, depth and output.
// Immutable: safe to use from many threads.
class ChatTemplate {
 public:
  // Errors say "chat template, line N: ...". What would read other files (include, import, extends) is an error here.
  static Result<std::unique_ptr<ChatTemplate>> compile(std::string_view source);
  // A model's templates by name. As transformers' get_chat_template, rendering takes the one that is asked for, else
  // "tool_use" where there are tools, else "default". Errors name the template.
  static Result<std::unique_ptr<ChatTemplate>> compile(const std::map<std::string, std::string>& sources);
  ~ChatTemplate();

  [[nodiscard]] std::vector<std::string> names() const;

  // messages: array of {role, content, ...}; tools and documents are null or an array. What raise_exception was given
  // is the error's message as it is.
  [[nodiscard]] Result<RenderedChat> render(const nlohmann::ordered_json& messages,
                                            const ChatTemplateOptions& options) const;

 private:
  struct Impl;
  explicit ChatTemplate(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace graft::text
