#include "text/chat_template.h"

#include <algorithm>
#include <array>

#include "base/strings.h"
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
  add("documents", jinja::from_json(options.documents, true));
  add("add_generation_prompt", Value(options.add_generation_prompt));
  return variables;
}

}  // namespace

struct ChatTemplate::Impl {
  struct Named {
    jinja::Block block;
    bool marks_generation = false;
  };
  std::map<std::string, Named> templates;

  Status add(const std::string& name, std::string_view source);
  [[nodiscard]] Result<const Named*> choose(const ChatTemplateOptions& options) const;
};

Status ChatTemplate::Impl::add(const std::string& name, std::string_view source) {
  if (source.size() > jinja::kLargestSource) {
    return invalid("chat template: longer than " + std::to_string(jinja::kLargestSource) + " bytes");
  }
  if (!is_valid_utf8(source)) return invalid("chat template: not valid UTF-8");
  try {
    Named named;
    named.block = jinja::parse_template(source, named.marks_generation);
    templates.insert_or_assign(name, std::move(named));
    return {};
  } catch (const jinja::Failure& failure) {
    return error_of(failure);
  }
}

Result<const ChatTemplate::Impl::Named*> ChatTemplate::Impl::choose(const ChatTemplateOptions& options) const {
  const auto find = [&](const std::string& name) {
    const auto found = templates.find(name);
    return found != templates.end() ? &found->second : nullptr;
  };
  std::vector<std::string> names;
  for (const auto& [name, unused] : templates) names.push_back(name);
  if (!options.name.empty()) {
    if (const Named* named = find(options.name)) return named;
    return not_found("no chat template is named '" + printable(options.name, 60) + "'" +
                     suggestion(options.name, names));
  }
  if (const Named* named = options.tools.is_null() ? nullptr : find("tool_use")) return named;
  if (const Named* named = find("default")) return named;
  return invalid("the model has several chat templates and none is named 'default'; name one of: " + join(names, ", "));
}

ChatTemplate::ChatTemplate(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ChatTemplate::~ChatTemplate() = default;

Result<std::unique_ptr<ChatTemplate>> ChatTemplate::compile(std::string_view source) {
  auto impl = std::make_unique<Impl>();
  GRAFT_CHECK_OK(impl->add("default", source));
  return std::unique_ptr<ChatTemplate>(new ChatTemplate(std::move(impl)));
}

Result<std::unique_ptr<ChatTemplate>> ChatTemplate::compile(const std::map<std::string, std::string>& sources) {
  if (sources.empty()) return invalid("the model has no chat template");
  auto impl = std::make_unique<Impl>();
  for (const auto& [name, source] : sources) {
    const Status added = impl->add(name, source);
    if (added.ok()) continue;
    return sources.size() == 1 ? added.error() : at("'" + printable(name, 60) + "'", added.error());
  }
  return std::unique_ptr<ChatTemplate>(new ChatTemplate(std::move(impl)));
}

std::vector<std::string> ChatTemplate::names() const {
  std::vector<std::string> names;
  for (const auto& [name, unused] : impl_->templates) names.push_back(name);
  return names;
}

Result<RenderedChat> ChatTemplate::render(const nlohmann::ordered_json& messages,
                                          const ChatTemplateOptions& options) const {
  if (!messages.is_array()) return invalid("messages: expected an array");
  for (const auto& message : messages) {
    if (!message.is_object()) return invalid("messages: expected an array of objects");
  }
  if (!options.tools.is_null() && !options.tools.is_array()) return invalid("tools: expected an array");
  if (!options.documents.is_null() && !options.documents.is_array()) return invalid("documents: expected an array");
  GRAFT_TRY(const Impl::Named* chosen, impl_->choose(options));
  try {
    jinja::Evaluator evaluator(options.now, options.most_steps);
    const jinja::MarkedText text = evaluator.render(chosen->block, variables_of(messages, options));
    RenderedChat chat{
        .text = text.bytes(), .content = {}, .generated = {}, .marks_generation = chosen->marks_generation};
    for (const jinja::Mark& mark : text.marks()) chat.content.push_back({mark.begin, mark.end});
    for (const jinja::Mark& mark : text.generated()) chat.generated.push_back({mark.begin, mark.end});
    return chat;
  } catch (const jinja::Failure& failure) {
    return error_of(failure);
  }
}

std::vector<uint8_t> token_mask(const Encoding& encoding, const std::vector<ProtectedSpan>& spans) {
  std::vector<uint8_t> mask(encoding.ids.size(), 0);
  auto span = spans.begin();
  for (size_t i = 0; i < mask.size(); ++i) {
    const auto [begin, end] = encoding.offsets[i];
    while (span != spans.end() && span->end <= begin) ++span;
    mask[i] = span != spans.end() && begin < end && span->begin < end ? 1 : 0;
  }
  return mask;
}

}  // namespace graft::text
