#include "text/chat_template.h"

#include <algorithm>
#include <array>

#include "base/utf8.h"
#include "text/jinja/evaluator.h"
#include "text/jinja/failure.h"
#include "text/jinja/json_text.h"
#include "text/jinja/parser.h"

namespace graft::text {
namespace {

using jinja::Value;

// Templates build special tokens of these ("<|" + role + "|>"), so they count as the template's own text. Any other
// role is the user's.
constexpr std::array<std::string_view, 9> kTrustedRoles = {
    "system", "user", "assistant", "tool", "developer", "function", "ipython", "model", "environment"};

Error error_of(const jinja::Failure& failure) {
  if (failure.verbatim) return invalid(failure.message);
  if (failure.line == 0) return invalid("chat template: " + failure.message);
  return invalid("chat template, line " + std::to_string(failure.line) + ": " + failure.message);
}

Value message_value(const nlohmann::ordered_json& message) {
  const Value marked = jinja::from_json(message, true);
  const jinja::Dict* dict = marked.as_dict();
  if (dict == nullptr) return marked;
  std::vector<std::pair<Value, Value>> items = dict->items;
  for (auto& [key, value] : items) {
    // Keys are compared and looked up; printed they are as marked as any other text.
    if (key.as_text()->bytes() != "role" || value.as_text() == nullptr) continue;
    const std::string& role = value.as_text()->bytes();
    if (std::find(kTrustedRoles.begin(), kTrustedRoles.end(), role) != kTrustedRoles.end()) value = Value::text(role);
  }
  return Value::dict(std::move(items));
}

Value messages_value(const nlohmann::ordered_json& messages) {
  std::vector<Value> items;
  for (const auto& message : messages) items.push_back(message_value(message));
  return Value::list(std::move(items));
}

// What transformers passes to the template; names in `extra` win.
std::vector<std::pair<std::string, Value>> variables_of(const nlohmann::ordered_json& messages,
                                                        const ChatTemplateOptions& options) {
  std::vector<std::pair<std::string, Value>> variables;
  for (const auto& item : options.extra.items()) {
    const bool from_user = item.key() == "documents";
    variables.emplace_back(item.key(), jinja::from_json(item.value(), from_user));
  }
  const auto add = [&](const char* name, Value value) {
    if (!options.extra.contains(name)) variables.emplace_back(name, std::move(value));
  };
  add("messages", messages_value(messages));
  add("tools", jinja::from_json(options.tools, true));
  add("documents", Value());
  add("add_generation_prompt", Value(options.add_generation_prompt));
  return variables;
}

}  // namespace

struct ChatTemplate::Impl {
  jinja::Block block;
};

ChatTemplate::ChatTemplate(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ChatTemplate::~ChatTemplate() = default;

Result<std::unique_ptr<ChatTemplate>> ChatTemplate::compile(std::string_view source) {
  if (source.size() > jinja::kLargestSource) {
    return invalid("chat template: longer than " + std::to_string(jinja::kLargestSource) + " bytes");
  }
  if (!is_valid_utf8(source)) return invalid("chat template: not valid UTF-8");
  try {
    auto impl = std::make_unique<Impl>();
    impl->block = jinja::parse_template(source);
    return std::unique_ptr<ChatTemplate>(new ChatTemplate(std::move(impl)));
  } catch (const jinja::Failure& failure) {
    return error_of(failure);
  }
}

Result<RenderedChat> ChatTemplate::render(const nlohmann::ordered_json& messages,
                                          const ChatTemplateOptions& options) const {
  if (!messages.is_array()) return invalid("messages: expected an array");
  for (const auto& message : messages) {
    if (!message.is_object()) return invalid("messages: expected an array of objects");
  }
  if (!options.tools.is_null() && !options.tools.is_array()) return invalid("tools: expected an array");
  try {
    jinja::Evaluator evaluator(options.now);
    const jinja::MarkedText text = evaluator.render(impl_->block, variables_of(messages, options));
    RenderedChat chat{.text = text.bytes(), .content = {}};
    for (const jinja::Mark& mark : text.marks()) chat.content.push_back({mark.begin, mark.end});
    return chat;
  } catch (const jinja::Failure& failure) {
    return error_of(failure);
  }
}

}  // namespace graft::text
