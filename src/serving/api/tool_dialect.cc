#include "serving/api/tool_dialect.h"

#include <array>
#include <string_view>
#include <utility>

#include "serving/api/prompt.h"

namespace graft::serving::api {
namespace {

constexpr std::string_view kProbe = "graft_probe";

OrderedJson probe_tools() {
  return OrderedJson::array(
      {{{"type", "function"},
        {"function",
         {{"name", kProbe},
          {"description", "probes"},
          {"parameters",
           {{"type", "object"}, {"properties", {{"key", {{"type", "string"}}}}}, {"required", {"key"}}}}}}}});
}

OrderedJson probe_call() {
  OrderedJson call{
      {"id", "abcdefghi"}, {"type", "function"}, {"function", {{"name", kProbe}, {"arguments", {{"key", "value"}}}}}};
  return {{"role", "assistant"}, {"content", ""}, {"tool_calls", OrderedJson::array({std::move(call)})}};
}

std::string render(const text::ChatTemplate& chat_template, text::ChatTemplateOptions options, OrderedJson messages) {
  options.tools = probe_tools();
  options.add_generation_prompt = false;
  const auto rendered = chat_template.render(messages, options);
  return rendered.ok() ? rendered->text : std::string();
}

bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

// A schema's references lead from its root, which it no longer is.
OrderedJson moved(OrderedJson schema, const std::string& root) {
  if (schema.is_object()) {
    for (auto& [key, value] : schema.items()) {
      const bool reference = key == "$ref" && value.is_string() && value.get_ref<const std::string&>().starts_with('#');
      value = reference ? OrderedJson(root + value.get<std::string>().substr(1)) : moved(std::move(value), root);
    }
  } else if (schema.is_array()) {
    for (auto& item : schema) item = moved(std::move(item), root);
  }
  return schema;
}

OrderedJson arguments_schema(const OrderedJson& function) {
  const auto found = function.find("parameters");
  if (found == function.end() || found->is_null()) {
    return {{"type", "object"}, {"properties", OrderedJson::object()}, {"additionalProperties", false}};
  }
  OrderedJson schema = *found;
  if (schema.is_object() && !schema.contains("type") && !schema.contains("$ref")) schema["type"] = "object";
  return schema;
}

}  // namespace

ToolDialect ToolDialect::of(const text::ChatTemplate& chat_template, const text::ChatTemplateOptions& options) {
  const OrderedJson user{{"role", "user"}, {"content", "Hello"}};
  const std::string plain = render(chat_template, options, OrderedJson::array({user}));
  const std::string called = render(chat_template, options, OrderedJson::array({user, probe_call()}));
  const std::string text = plain + called;
  ToolDialect dialect;
  dialect.in_template = has(plain, kProbe);
  if (has(text, "[TOOL_CALLS]")) {
    dialect.format = ToolFormat::kMistral;
  } else if (has(text, "<tool_call>")) {
    dialect.format = ToolFormat::kHermes;
  } else if (has(text, "<|python_tag|>") || has(text, R"("parameters": {"key": "value"})") ||
             has(text, R"({"name": function name, "parameters":)")) {
    dialect.format = ToolFormat::kLlama3;
  }
  return dialect;
}

std::string ToolDialect::forced_prefix() const {
  if (format == ToolFormat::kHermes) return "<tool_call>\n";
  return format == ToolFormat::kMistral ? "[TOOL_CALLS]" : "";
}

std::string ToolDialect::forced_schema(const OrderedJson& tools, int most) const {
  const std::string key = format == ToolFormat::kLlama3 ? "parameters" : "arguments";
  OrderedJson definitions = OrderedJson::object();
  OrderedJson calls = OrderedJson::array();
  for (const auto& tool : tools) {
    const OrderedJson& function = tool["function"];
    const std::string name = "tool" + std::to_string(definitions.size());
    const std::string place = "#/$defs/" + name;
    definitions[name] = moved(arguments_schema(function), place);
    OrderedJson call{{"type", "object"}};
    call["properties"] = {{"name", {{"const", function["name"]}}}, {key, {{"$ref", place}}}};
    call["required"] = {"name", key};
    call["additionalProperties"] = false;
    calls.push_back(std::move(call));
  }
  OrderedJson schema{{"anyOf", std::move(calls)}};
  if (format == ToolFormat::kMistral) {
    schema = {{"type", "array"}, {"items", std::move(schema)}, {"minItems", 1}, {"maxItems", most}};
  }
  schema["$defs"] = std::move(definitions);
  return to_text(schema);
}

std::string ToolDialect::instructions(const OrderedJson& tools) const {
  std::string text =
      "You can call functions. To call one, answer with nothing but JSON of this form: "
      "{\"name\": \"the function's name\", \"arguments\": {...}}. These functions are available:\n";
  for (const auto& tool : tools) text += to_text(tool["function"]) + "\n";
  text += "Answer in plain text where no function is needed.";
  return text;
}

std::string ToolDialect::new_call_id() const {
  constexpr std::string_view kLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
  const bool mistral = format == ToolFormat::kMistral;
  std::string id = mistral ? "" : "call_";
  for (const size_t size = id.size() + (mistral ? 9 : 24); id.size() < size;) {
    uint64_t bits = random_seed();
    for (int i = 0; i < 8 && id.size() < size; ++i, bits >>= 8U) id += kLetters[(bits & 0xFFU) % kLetters.size()];
  }
  return id;
}

}  // namespace graft::serving::api
