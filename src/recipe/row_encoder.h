#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "recipe/example.h"
#include "recipe/row_reader.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace graft::recipe {

// Renders a chat, with the beginning of the assistant's next turn at the end or without. `tools` is null or a list.
using ChatRenderer = std::function<Result<text::RenderedChat>(
    const nlohmann::ordered_json& messages, const nlohmann::ordered_json& tools, bool add_generation_prompt)>;

// `variables` are bos_token, eos_token and the like. The template lives as long as the renderer.
ChatRenderer chat_renderer(std::shared_ptr<const text::ChatTemplate> chat_template, nlohmann::ordered_json variables);

// What a model brings to its data.
struct ModelText {
  const text::Tokenizer* tokenizer = nullptr;  // outlives the encoder
  ChatRenderer chat;                           // empty where the model has no chat template
  std::vector<int32_t> eos_token_ids;          // any of them ends an answer; the first is appended to completions
};

// A row as the model is asked at evaluation.
struct PromptExample {
  std::vector<int32_t> tokens;
  std::string prompt;     // as text, for people
  std::string reference;  // the right answer: the completion, or the last assistant message's content
  int64_t row = 0;
};

// Row texts -> tokens.
//
// Prompt and completion are tokenised apart and put together: the prompt as raw text, with the special tokens that the
// tokenizer adds in front; the completion as raw text without them, then the end-of-sequence token. Both the completion
// and that token are supervised. Nothing is inserted in between: a leading space belongs to the data.
//
// Chats are rendered by the template, with the row's tools, and tokenised as one text in which message contents never
// count as special tokens. Supervised is what the template prints inside {% generation %}, where it has such blocks,
// and otherwise every assistant turn, from the end of its generation prompt to the token that ends it, found by
// rendering the chat up to there. Where the template prints a turn differently once more follows (models that drop the
// thinking of earlier turns), the turn's content as the whole chat shows it, with the token that ends it.
//
// Documents are raw text with the special tokens that the tokenizer adds in front and the end-of-sequence token at the
// end; all of it is supervised. Labelled rows are their prompt; nothing of it is supervised.
class RowEncoder {
 public:
  // Errors: no end-of-sequence token; a chat template is asked for but the model has none.
  static Result<RowEncoder> create(ModelText model, bool apply_chat_template);

  // Errors begin with the row, an empty mask ("nothing to learn") among them; labelled rows have none.
  [[nodiscard]] Result<Example> encode(const RowText& row) const;
  // The same prompt that training has, without the answer. Chats: everything before the last assistant message.
  // Documents ask nothing: an error.
  [[nodiscard]] Result<PromptExample> prompt(const RowText& row) const;

  [[nodiscard]] const text::Tokenizer& tokenizer() const { return *model_.tokenizer; }

 private:
  RowEncoder(ModelText model, bool wrap) : model_(std::move(model)), wrap_(wrap) {}

  [[nodiscard]] Result<Example> encode_pair(const RowText& row) const;
  [[nodiscard]] Example encode_document(const RowText& row) const;
  [[nodiscard]] Result<Example> encode_prompt(const RowText& row) const;
  [[nodiscard]] Result<Example> encode_chat(const RowText& row, const nlohmann::ordered_json& messages) const;
  Status supervise_turns(const RowText& row, const nlohmann::ordered_json& messages, const std::string& whole,
                         const text::Encoding& encoding, Example& example) const;
  [[nodiscard]] Result<text::RenderedChat> render(const RowText& row, const nlohmann::ordered_json& messages,
                                                  bool add_generation_prompt) const;
  // Byte range of the turn messages[index] in the text of the whole chat.
  [[nodiscard]] Result<text::ProtectedSpan> turn_span(const RowText& row, const nlohmann::ordered_json& messages,
                                                      size_t index, const std::string& whole) const;
  // Byte range of its content alone, whatever the template makes of it; empty where it is not shown.
  [[nodiscard]] Result<text::ProtectedSpan> content_span(const RowText& row, const nlohmann::ordered_json& messages,
                                                         size_t index, const std::string& whole) const;
  void supervise(Example& example, const text::Encoding& encoding, const text::ProtectedSpan& span) const;
  void supervise_content(Example& example, const text::Encoding& encoding, const std::string& whole,
                         const text::ProtectedSpan& span) const;
  [[nodiscard]] bool is_eos(int32_t id) const;
  [[nodiscard]] bool ends(const Example& example) const;

  ModelText model_;
  bool wrap_;  // prompt and completion become messages
};

}  // namespace graft::recipe
