#pragma once

#include <memory>
#include <nlohmann/json.hpp>
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
      nlohmann::ordered_json::object();  // further template variables (bos_token, eos_token, ...)
};

struct RenderedChat {
  std::string text;
  std::vector<ProtectedSpan> content;  // the bytes that message contents put there: pass on to Tokenizer::encode
};

// Hugging Face's dialect of Jinja, as transformers' apply_chat_template runs it. Bounded in steps, depth and output.
// Immutable: safe to use from many threads.
class ChatTemplate {
 public:
  static Result<std::unique_ptr<ChatTemplate>> compile(std::string_view source);
  ~ChatTemplate();

  // messages: array of {role, content, ...}. Errors carry raise_exception's message as it is.
  [[nodiscard]] Result<RenderedChat> render(const nlohmann::ordered_json& messages,
                                            const ChatTemplateOptions& options) const;

 private:
  struct Impl;
  explicit ChatTemplate(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace graft::text
