#include "recipe/row_encoder.h"

#include <fmt/format.h>

#include <algorithm>

namespace graft::recipe {
namespace {

using Json = nlohmann::ordered_json;

Json as_messages(const RowText& row) {
  return Json::array(
      {{{"role", "user"}, {"content", row.prompt}}, {{"role", "assistant"}, {"content", row.completion}}});
}

Json first_messages(const Json& messages, size_t count) {
  Json first = Json::array();
  for (size_t i = 0; i < count; ++i) first.push_back(messages[i]);
  return first;
}

bool is_assistant(const Json& message) { return message["role"] == "assistant"; }

bool is_blank(std::string_view text) { return text.find_first_not_of(" \t\r\n") == std::string_view::npos; }

// A character that `text` does not hold, of those for private use.
std::string unused_character(const std::string& text) {
  std::string mark = "\xEE\x80\x80";  // U+E000
  while (text.find(mark) != std::string::npos && mark[2] != '\xBF') ++mark[2];
  return mark;
}

// Where `marked`, which is `text` but for one place that reads `mark` in it, differs from it. Nothing where that is not
// so.
std::optional<text::ProtectedSpan> place_of_mark(const std::string& text, const std::string& marked,
                                                 const std::string& mark) {
  const size_t begin = marked.find(mark);
  if (begin == std::string::npos) return std::nullopt;
  const size_t after = marked.size() - begin - mark.size();  // bytes behind it
  if (begin + after > text.size() || text.compare(0, begin, marked, 0, begin) != 0 ||
      text.compare(text.size() - after, after, marked, begin + mark.size(), after) != 0) {
    return std::nullopt;
  }
  return text::ProtectedSpan{begin, text.size() - after};
}

}  // namespace

Result<RowEncoder> RowEncoder::create(ModelText model, bool apply_chat_template) {
  if (model.eos_token_ids.empty()) {
    return invalid("the model names no end-of-sequence token: set eos_token_id in its config, or answers never end");
  }
  if (apply_chat_template && !model.chat) {
    return invalid(
        "prompt.apply_chat_template: the model has no chat template; use a chat model, or leave the key out");
  }
  return RowEncoder(std::move(model), apply_chat_template);
}

bool RowEncoder::is_eos(int32_t id) const {
  return std::find(model_.eos_token_ids.begin(), model_.eos_token_ids.end(), id) != model_.eos_token_ids.end();
}

Result<Example> RowEncoder::encode(const RowText& row) const {
  if (row.is_chat() && !model_.chat) {
    return invalid(fmt::format(
        "row {}: messages, but the model has no chat template; use a chat model, or rows of prompt and completion",
        row.row));
  }
  if (row.document) return encode_document(row);
  if (row.is_labelled) return encode_prompt(row);
  if (!row.is_chat() && !wrap_) return encode_pair(row);
  return encode_chat(row, row.is_chat() ? row.messages : as_messages(row));
}

Result<Example> RowEncoder::encode_pair(const RowText& row) const {
  Example example;
  example.row = row.row;
  example.tokens = model_.tokenizer->encode(row.prompt).ids;
  const size_t prompt = example.tokens.size();
  const auto completion = model_.tokenizer->encode(row.completion, {.add_special_tokens = false}).ids;
  example.tokens.insert(example.tokens.end(), completion.begin(), completion.end());
  example.tokens.push_back(model_.eos_token_ids.front());
  example.supervised.assign(example.tokens.size(), 1);
  std::fill_n(example.supervised.begin(), prompt, uint8_t{0});
  return example;
}

Example RowEncoder::encode_document(const RowText& row) const {
  Example example;
  example.row = row.row;
  example.tokens = model_.tokenizer->encode(*row.document).ids;
  example.tokens.push_back(model_.eos_token_ids.front());
  example.supervised.assign(example.tokens.size(), 1);
  example.supervised.front() = 0;  // nothing comes before it
  return example;
}

Result<Example> RowEncoder::encode_prompt(const RowText& row) const {
  GRAFT_TRY(PromptExample asked, prompt(row));
  Example example;
  example.row = row.row;
  example.tokens = std::move(asked.tokens);
  example.supervised.assign(example.tokens.size(), 0);
  return example;
}

Result<text::RenderedChat> RowEncoder::render(const RowText& row, const Json& messages,
                                              bool add_generation_prompt) const {
  auto rendered = model_.chat(messages, row.tools, add_generation_prompt);
  if (!rendered.ok()) return at(fmt::format("row {}: chat template", row.row), rendered.error());
  return rendered;
}

Result<text::ProtectedSpan> RowEncoder::turn_span(const RowText& row, const Json& messages, size_t index,
                                                  const std::string& whole) const {
  GRAFT_TRY(const text::RenderedChat before, render(row, first_messages(messages, index), true));
  GRAFT_TRY(const text::RenderedChat with, render(row, first_messages(messages, index + 1), false));
  // Some templates drop what stands after the turn of an unfinished chat, or rewrite earlier turns: then we do not
  // know which bytes are the assistant's.
  if (!with.text.starts_with(before.text) || !whole.starts_with(with.text)) {
    return invalid(
        fmt::format("row {}: the chat template renders messages[{}] differently once more follows, so it is "
                    "unclear what the assistant said; split the row so that it ends there",
                    row.row, index));
  }
  return text::ProtectedSpan{before.text.size(), with.text.size()};
}

// Marks the tokens of an assistant turn, one that only ends in it included, up to the first end-of-sequence token; line
// ends that the template writes after it are not the assistant's.
void RowEncoder::supervise(Example& example, const text::Encoding& encoding, const text::ProtectedSpan& span) const {
  for (size_t i = 0; i < encoding.ids.size(); ++i) {
    if (encoding.offsets[i].second <= span.begin) continue;
    if (encoding.offsets[i].first >= span.end) break;
    example.supervised[i] = 1;
    if (is_eos(encoding.ids[i])) break;
  }
}

Result<text::ProtectedSpan> RowEncoder::content_span(const RowText& row, const Json& messages, size_t index,
                                                     const std::string& whole) const {
  const Error unclear = invalid(fmt::format(
      "row {}: it is unclear what of messages[{}] the chat template shows; split the row so that it ends there",
      row.row, index));
  const auto content = messages[index].find("content");
  if (content == messages[index].end() || !content->is_string() || messages[index].contains("tool_calls")) {
    return unclear;
  }
  const std::string mark = unused_character(whole);
  Json marked = messages;
  marked[index]["content"] = mark;
  GRAFT_TRY(const text::RenderedChat rendered, render(row, marked, false));
  const auto place = place_of_mark(whole, rendered.text, mark);
  if (!place) return unclear;
  return *place;
}

// Marks the tokens of an assistant's content, and the end-of-sequence token that comes after it.
void RowEncoder::supervise_content(Example& example, const text::Encoding& encoding, const std::string& whole,
                                   const text::ProtectedSpan& span) const {
  size_t i = 0;
  while (i < encoding.ids.size() && encoding.offsets[i].second <= span.begin) ++i;
  for (; i < encoding.ids.size() && encoding.offsets[i].first < span.end; ++i) example.supervised[i] = 1;
  for (size_t end = i; end < encoding.ids.size(); ++end) {
    const auto [from, to] = encoding.offsets[end];
    if (is_eos(encoding.ids[end])) {
      std::fill(example.supervised.begin() + static_cast<std::ptrdiff_t>(i),
                example.supervised.begin() + static_cast<std::ptrdiff_t>(end) + 1, uint8_t{1});
      return;
    }
    if (!is_blank(std::string_view(whole).substr(from, to - from))) return;
  }
}

Status RowEncoder::supervise_turns(const RowText& row, const Json& messages, const std::string& whole,
                                   const text::Encoding& encoding, Example& example) const {
  for (size_t i = 0; i < messages.size(); ++i) {
    if (!is_assistant(messages[i])) continue;
    if (const auto turn = turn_span(row, messages, i, whole); turn.ok()) {
      supervise(example, encoding, *turn);
    } else if (const auto content = content_span(row, messages, i, whole); content.ok()) {
      supervise_content(example, encoding, whole, *content);
    } else {
      return turn.error();
    }
  }
  return {};
}

// Whether the last thing, but for white space, is an end-of-sequence token.
bool RowEncoder::ends(const Example& example) const {
  for (size_t i = example.tokens.size(); i > 0; --i) {
    const int32_t id = example.tokens[i - 1];
    if (is_eos(id)) return true;
    if (!is_blank(model_.tokenizer->decode(std::span(&id, 1), /*skip_special_tokens=*/false))) return false;
  }
  return false;
}

Result<Example> RowEncoder::encode_chat(const RowText& row, const Json& messages) const {
  GRAFT_TRY(const text::RenderedChat whole, render(row, messages, false));
  const text::Encoding encoding = model_.tokenizer->encode(whole.text, {.add_special_tokens = false}, whole.content);
  Example example;
  example.row = row.row;
  example.tokens = encoding.ids;
  example.supervised.assign(example.tokens.size(), 0);
  if (whole.marks_generation) {
    example.supervised = text::token_mask(encoding, whole.generated);
  } else {
    GRAFT_CHECK_OK(supervise_turns(row, messages, whole.text, encoding, example));
  }
  if (supervised_tokens(example) == 0) {
    const char* why =
        whole.marks_generation ? "prints nothing inside of {% generation %}" : "shows nothing of the assistant";
    return invalid(fmt::format("row {}: no token carries loss: the chat template {}", row.row, why));
  }
  // A template that ends an answer with nothing leaves the model without a way to stop.
  if (example.supervised.back() != 0 && !ends(example)) {
    example.tokens.push_back(model_.eos_token_ids.front());
    example.supervised.push_back(1);
  }
  return example;
}

Result<PromptExample> RowEncoder::prompt(const RowText& row) const {
  PromptExample example;
  example.row = row.row;
  if (row.document) {
    return invalid(fmt::format("row {}: a document asks nothing; score rows with an answer", row.row));
  }
  if (!row.is_chat() && !wrap_) {
    example.prompt = row.prompt;
    example.reference = row.completion;
    example.tokens = model_.tokenizer->encode(row.prompt).ids;
    return example;
  }
  if (!model_.chat) return invalid(fmt::format("row {}: messages, but the model has no chat template", row.row));
  const Json messages = row.is_chat() ? row.messages : as_messages(row);
  size_t last = messages.size();
  while (last > 0 && !is_assistant(messages[last - 1])) --last;
  if (last == 0) return invalid(fmt::format("row {}: no message of the assistant", row.row));
  const Json& answer = messages[last - 1];
  const bool calls = answer.contains("tool_calls") && !answer["tool_calls"].empty();
  if (calls || !answer.contains("content") || !answer["content"].is_string()) {
    return invalid(fmt::format("row {}: the assistant's last message is not plain text", row.row));
  }
  GRAFT_TRY(const text::RenderedChat before, render(row, first_messages(messages, last - 1), true));
  example.prompt = before.text;
  example.reference = answer["content"].get<std::string>();
  example.tokens = model_.tokenizer->encode(before.text, {.add_special_tokens = false}, before.content).ids;
  return example;
}

}  // namespace graft::recipe
