#include "recipe/config_text.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "recipe/config_schema.h"
#include "recipe/training_config.h"

namespace graft::recipe {
namespace {

using Json = nlohmann::ordered_json;

Json to_json(const ConfigNode& node) {
  switch (node.kind) {
    case ConfigNode::Kind::kNull:
      return nullptr;
    case ConfigNode::Kind::kScalar:
      return node.quoted ? Json(node.text) : Json::parse(node.text);
    case ConfigNode::Kind::kList: {
      Json list = Json::array();
      for (const auto& item : node.items) list.push_back(to_json(item));
      return list;
    }
    case ConfigNode::Kind::kMap:
      break;
  }
  Json object = Json::object();
  for (const auto& entry : node.entries) object[entry.key] = to_json(entry.value);
  return object;
}

bool is_required(const std::string& path) {
  return path == "model_type" || path == "base_model" || path == "adapter.type";
}

std::string bounds_text(const NumberBounds& bounds) {
  std::string text;
  if (bounds.min > NumberBounds{}.min) text += fmt::format("{} {}", bounds.open_min ? ">" : ">=", bounds.min);
  if (bounds.max < NumberBounds{}.max) {
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", bounds.open_max ? "<" : "<=", bounds.max);
  }
  return text;
}

Json number_schema(const char* type, const Option& option) {
  Json schema = {{"type", type}};
  if (!option.bounds) return schema;
  const NumberBounds& bounds = *option.bounds;
  const auto put = [&](const char* name, double value) {
    if (value == static_cast<double>(static_cast<int64_t>(value))) {
      schema[name] = static_cast<int64_t>(value);
    } else {
      schema[name] = value;
    }
  };
  if (bounds.min > NumberBounds{}.min) put(bounds.open_min ? "exclusiveMinimum" : "minimum", bounds.min);
  if (bounds.max < NumberBounds{}.max) put(bounds.open_max ? "exclusiveMaximum" : "maximum", bounds.max);
  return schema;
}

Json value_schema(const Option& option) {
  if (option.type == "integer") return number_schema("integer", option);
  if (option.type == "number") return number_schema("number", option);
  if (option.type == "boolean") return {{"type", "boolean"}};
  const Json strings = {{"type", "array"}, {"items", {{"type", "string"}}}};
  if (option.type == "list of strings") return strings;
  if (option.type == "list of numbers") return {{"type", "array"}, {"items", number_schema("number", option)}};
  if (option.type == "section of numbers") {
    return {{"type", "object"}, {"additionalProperties", number_schema("number", option)}};
  }
  if (option.type == "list of strings, or a string") return {{"anyOf", {strings, {{"type", "string"}}}}};
  if (option.type == "true, or a string") return {{"anyOf", {{{"const", true}}, {{"type", "string"}}}}};
  Json schema = {{"type", "string"}};
  if (!option.choices.empty()) schema["enum"] = option.choices;
  return schema;
}

Json option_schema(const Option& option) {
  Json schema = value_schema(option);
  if (option.nullable) schema = {{"anyOf", {schema, {{"type", "null"}}}}};
  if (option.folded) schema["anyOf"].push_back({{"const", "auto"}});
  schema["description"] = option.help;
  if (!is_required(option.path)) schema["default"] = to_json(option.write(TrainingConfig{}));
  return schema;
}

Json& section_schema(Json& root, const std::string& path, std::string& key) {
  Json* section = &root;
  size_t begin = 0;
  for (size_t dot = path.find('.'); dot != std::string::npos; dot = path.find('.', begin)) {
    Json& child = (*section)["properties"][path.substr(begin, dot - begin)];
    if (child.is_null()) child = {{"type", "object"}, {"additionalProperties", false}, {"properties", Json::object()}};
    section = &child;
    begin = dot + 1;
  }
  key = path.substr(begin);
  return *section;
}

Json features_schema(const char* help, const std::vector<std::string>& types) {
  return {{"type", "array"},
          {"description", help},
          {"items",
           {{"type", "object"},
            {"additionalProperties", false},
            {"required", {"name"}},
            {"properties", {{"name", {{"type", "string"}}}, {"type", {{"type", "string"}, {"enum", types}}}}}}}};
}

constexpr const char* kInputHelp = "The columns that make the prompt.";
constexpr const char* kOutputHelp =
    "The column to learn: exactly one. Type `category` makes it one of a few labels (classification).";

std::string default_text(const Option& option) {
  if (is_required(option.path)) return "required";
  return "`" + to_json(option.write(TrainingConfig{})).dump() + "`";
}

std::string allowed_text(const Option& option) {
  std::string text = option.type;
  if (!option.choices.empty()) {
    text.clear();
    for (const auto& choice : option.choices) text += (text.empty() ? "`" : ", `") + choice + "`";
  }
  if (option.bounds && !bounds_text(*option.bounds).empty()) text += " " + bounds_text(*option.bounds);
  return option.nullable ? text + ", or null" : text;
}

constexpr const char* kIntroduction = R"(# Config reference

Made by `graft config schema --markdown`; do not edit. `graft config schema` prints the same as a JSON Schema, and
`graft config show FILE` a file with every default written out.

The spelling is Ludwig's (`model_type: llm`), and so are the defaults, except where the tables below say "graft".
Unknown keys are errors. `--set section.key=value` on the command line overrides a key.

Where graft differs from Ludwig, results included:

| key | Ludwig | graft |
|---|---|---|
| step size | `batch_size: 1`, accumulation chosen by the program | `max_batch_tokens: 2048` unless a size in rows is written |
| loss over a step | mean of the micro-batches' means | mean over all supervised tokens |
| `trainer.optimizer.type` | `adam` | `adamw`; the same while `weight_decay` is 0 |
| `generation.top_p` | `1.0` | null, which is the same |
| rows longer than the context | cut at the end | `preprocessing.overlong_rows` |
| `preprocessing.split.type` | `random` | `auto`: a column `split` is used where there is one |
| unknown keys | dropped | errors |

)";

constexpr const char* kFull = R"(## Training all weights

`adapter: {type: full}` trains the model itself; the result is a model, `model/` in the job's directory. Its memory is
little more than the weights and two bytes for each of them:

- Weights stay in `trainer.dtype`. bfloat16 ones are changed in place with stochastic rounding: up or down by chance, so
  that small updates count on average. float32 ones are plain.
- `trainer.optimizer.type` is `adamw_8bit` by default; `adamw` keeps float32 moments.
- Gradients are applied during the backward pass and freed at once. So a step is one pass: no accumulation, and
  `max_micro_batch_tokens` is the step's size; and the norm of all gradients is known too late to clip by it: none by
  default, `gradient_clipping.clipnorm` for each parameter's own.
- `trainer.enable_gradient_checkpointing` makes room for long rows and large steps.

)";

constexpr const char* kRows = R"(## Rows

| `row_format` | columns | what is learned, after what |
|---|---|---|
| `columns` | those of `prompt.template` (or the only input feature), and the output feature | the output feature's column, after the prompt |
| `prompt_completion` | `prompt`, `completion` | the completion, after the prompt |
| `alpaca` | `instruction`, `output`; `input`, which may be empty or absent | the output, after Stanford Alpaca's wording around instruction and input |
| `question_answer` | `question`, `answer` | a space and the answer, after `Question: ...`, a line break and `Answer:` |
| `messages` | `messages` (a list of {role, content, tool_calls}), `tools` | every assistant turn, with the token that ends it |
| `sharegpt` | `conversations` (a list of {from, value}: human, gpt, system, tool or observation, function_call), `system`, `tools` | the same |
| `text` | `text` | all of it, and the end-of-sequence token: continued pretraining |

With `row_format: auto` the columns of the first row say which it is. Where they fit several shapes, that is an error
that names them.

Prompt and completion are tokenised apart and put together, so nothing is added between them: a completion that should
begin with a space has one in the data (or the template ends in one). The prompt gets what the tokenizer puts in front
of a text (such as BOS); the completion ends in the model's end-of-sequence token, which is learned too. Special tokens
in prompts, completions and documents count as such; in messages they never do. With `prompt.apply_chat_template`, the
user's message is the prompt, the question, or the instruction with the input below it after an empty line.

Chats: what the template prints inside `{% generation %}` is learned, where it has such blocks, and otherwise each
assistant turn. The system's message comes first, user and assistant take turns, and what tools answer follows an
assistant message with `tool_calls`. `tools` is a list of function definitions, or its JSON text, with parameters in JSON
Schema; the template shows them to the model.

Documents are packed one after the other, and attention never crosses from one into the next. One that is longer than
the limit is cut into pieces; a piece begins with the last token of the one before, so that every token is learned.

An output feature of type `category` is a label: the prompt alone is tokenised, and the labels are those of the training
rows, in alphabetical order. A validation or test row with another label is an error.
)";

std::string section_of(const std::string& path) {
  const auto dot = path.find('.');
  return dot == std::string::npos ? "" : path.substr(0, dot);
}

std::string table_head() { return "| key | values | default | from | meaning |\n|---|---|---|---|---|\n"; }

}  // namespace

Result<std::string> config_show(const std::string& path, const std::vector<std::string>& overrides) {
  GRAFT_TRY(const TrainingConfig config, load_training_config(path, overrides));
  return to_yaml(config);
}

std::string config_schema_json() {
  Json root = {{"$schema", "https://json-schema.org/draft/2020-12/schema"},
               {"title", "graft training config"},
               {"type", "object"},
               {"additionalProperties", false},
               {"required", {"model_type", "base_model", "adapter"}},
               {"properties", Json::object()}};
  root["properties"]["input_features"] = features_schema(kInputHelp, {"text"});
  root["properties"]["output_features"] = features_schema(kOutputHelp, {"text", "category"});
  for (const Option& option : options()) {
    std::string key;
    Json& section = section_schema(root, option.path, key);
    section["properties"][key] = option_schema(option);
  }
  root["properties"]["adapter"]["required"] = {"type"};
  Json& backend = root["properties"]["backend"];
  backend = {{"anyOf", {backend, {{"const", "local"}}}}};
  for (const char* nullable : {"learning_rate_scheduler", "gradient_clipping"}) {
    Json& section = root["properties"]["trainer"]["properties"][nullable];
    section["type"] = {"object", "null"};
  }
  return root.dump(2) + "\n";
}

std::string config_schema_markdown() {
  std::string text = kIntroduction;
  text += "## Top level\n\n" + table_head();
  text += fmt::format("| `input_features` | list of {{name, type: text}} | `[]` | Ludwig | {} |\n", kInputHelp);
  text += fmt::format("| `output_features` | list of {{name, type: text or category}} | `[]` | Ludwig | {} |\n",
                      kOutputHelp);
  const auto add = [&](const Option& option) {
    text += fmt::format("| `{}` | {} | {} | {} | {} |\n", option.path, allowed_text(option), default_text(option),
                        option.from_graft ? "graft" : "Ludwig", option.help);
  };
  for (const Option& option : options()) {
    if (section_of(option.path).empty()) add(option);
  }
  std::string section;
  for (const Option& option : options()) {
    if (section_of(option.path).empty()) continue;
    if (section_of(option.path) != section) {
      section = section_of(option.path);
      text += fmt::format("\n## {}\n\n", section) + table_head();
    }
    add(option);
  }
  text += "\n" + std::string(kFull) + kRows;
  text += "\n## Known to Ludwig, refused here\n\n| key | accepted values, without effect | why |\n|---|---|---|\n";
  for (const UnsupportedOption& option : unsupported_options()) {
    std::string harmless = "null";
    for (const auto& value : option.harmless) harmless += value == "*" ? ", any" : ", `" + value + "`";
    text +=
        fmt::format("| `{}` | {} | {} |\n", option.path, harmless, option.why.empty() ? "changes nothing" : option.why);
  }
  return text;
}

}  // namespace graft::recipe
