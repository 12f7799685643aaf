#pragma once

#include <ctime>
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
  nlohmann::ordered_json tools;  // null, or an array of tool definitions
  nlohmann::ordered_json extra =
      nlohmann::ordered_json::object();  // further template variables (bos_token, eos_token, documents, ...)
  std::optional<std::tm> now;            // what strftime_now formats; nothing: this machine's local time
};

struct RenderedChat {
  std::string text;
  // The bytes that came from strings of messages, tools and documents, however they were cut, trimmed or quoted on the
  // way; but not the names of usual roles, of which templates build special tokens. Pass on to Tokenizer::encode.
  std::vector<ProtectedSpan> content;
};

// Hugging Face's dialect of Jinja, as transformers' apply_chat_template runs it. Bounded in steps, depth and output.
// Immutable: safe to use from many threads.
class ChatTemplate {
 public:
  // Errors say "chat template, line N: ...". Jinja that is not built (include, recursive loops, ...) is an error here.
  static Result<std::unique_ptr<ChatTemplate>> compile(std::string_view source);
  ~ChatTemplate();

  // messages: array of {role, content, ...}; tools are null or an array. What raise_exception was given is the error's
  // message as it is.
  [[nodiscard]] Result<RenderedChat> render(const nlohmann::ordered_json& messages,
                                            const ChatTemplateOptions& options) const;

 private:
  struct Impl;
  explicit ChatTemplate(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace graft::text
