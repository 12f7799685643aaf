#include "recipe/row_reader.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/json.h"
#include "base/strings.h"

namespace graft::recipe {
namespace {

using Json = nlohmann::ordered_json;

std::string row_name(const formats::DatasetRow& row) { return fmt::format("row {}", row.number); }

std::vector<std::string> column_names(const formats::DatasetRow& row) {
  std::vector<std::string> names;
  for (const auto& [name, value] : row.columns.items()) names.push_back(printable(name, 60));
  return names;
}

Error missing_column(const formats::DatasetRow& row, const std::string& column) {
  const auto names = column_names(row);
  const auto meant = did_you_mean(column, names);
  return invalid(fmt::format("{}: column '{}' missing; columns are {}{}", row_name(row), printable(column, 60),
                             names.empty() ? "none" : join(names, ", "),
                             meant ? "; did you mean " + *meant + "?" : ""));
}

Status check_message(const Json& message, const std::string& place) {
  if (!message.is_object()) return invalid(place + ": expected an object {role, content}");
  const auto role = message.find("role");
  if (role == message.end() || !role->is_string()) return invalid(place + ": 'role' is missing or not a string");
  const auto content = message.find("content");
  const bool assistant = role->get_ref<const std::string&>() == "assistant";
  if (content != message.end() && content->is_string()) {
    if (assistant && content->get_ref<const std::string&>().empty() && !message.contains("tool_calls")) {
      return invalid(place + ": the assistant's content is empty: there is nothing to learn");
    }
    return {};
  }
  if (content != message.end() && content->is_array()) return {};  // parts: the template's business
  if (message.contains("tool_calls")) return {};
  return invalid(place + ": 'content' is missing or not a string");
}

Status check_messages(const Json& messages, const std::string& row) {
  if (!messages.is_array() || messages.empty()) return invalid(row + ": 'messages' must be a list that is not empty");
  bool assistant = false;
  for (size_t i = 0; i < messages.size(); ++i) {
    GRAFT_CHECK_OK(check_message(messages[i], fmt::format("{}: messages[{}]", row, i)));
    assistant = assistant || messages[i]["role"] == "assistant";
  }
  if (!assistant) return invalid(row + ": no message of the assistant: there is nothing to learn");
  return {};
}

Status check_pair(const RowText& text, const std::string& prompt_name, const std::string& completion_name) {
  const std::string row = fmt::format("row {}", text.row);
  if (text.prompt.empty()) return invalid(fmt::format("{}: {} is empty", row, prompt_name));
  if (text.completion.empty()) {
    return invalid(fmt::format("{}: {} is empty: there is nothing to learn", row, completion_name));
  }
  return {};
}

Status check_template(const PromptTemplate& prompt, const TrainingConfig& config) {
  const auto& columns = prompt.columns();
  const auto uses = [&](const std::string& name) {
    return std::find(columns.begin(), columns.end(), name) != columns.end();
  };
  const std::string& output = config.output_features[0].name;
  if (uses(output)) {
    return invalid(fmt::format("prompt.template: {{{}}} is the column to learn: the prompt must not tell it",
                               printable(output, 60)));
  }
  for (const auto& feature : config.input_features) {
    if (uses(feature.name)) continue;
    return invalid(fmt::format("prompt.template: the input feature {{{}}} is not in it; add it, or remove the feature",
                               printable(feature.name, 60)));
  }
  return {};
}

}  // namespace

Result<std::string> column_text(const formats::DatasetRow& row, const std::string& column) {
  const auto cell = row.columns.find(column);
  if (cell == row.columns.end()) return missing_column(row, column);
  if (cell->is_string()) return cell->get<std::string>();
  if (cell->is_number() || cell->is_boolean()) return cell->dump();
  return invalid(fmt::format("{}: column '{}' is {}: expected text", row_name(row), printable(column, 60),
                             cell->is_null()    ? "null"
                             : cell->is_array() ? "a list"
                                                : "an object"));
}

Result<RowReader> RowReader::create(const TrainingConfig& config) {
  RowReader reader;
  const std::string& format = config.preprocessing.row_format;
  if (format == "messages") reader.shape_ = Shape::kMessages;
  if (format == "prompt_completion") reader.shape_ = Shape::kPromptCompletion;
  if (format == "columns" || !config.output_features.empty() || config.prompt.template_text) {
    reader.shape_ = Shape::kColumns;
    if (config.output_features.size() != 1) return invalid("output_features: exactly one is needed");
    reader.output_ = config.output_features[0].name;
    if (config.prompt.template_text) {
      GRAFT_TRY(reader.template_, PromptTemplate::parse(*config.prompt.template_text));
      GRAFT_CHECK_OK(check_template(reader.template_, config));
    } else {
      if (config.input_features.size() != 1) return invalid("prompt.template: is required");
      reader.template_ = PromptTemplate::column(config.input_features[0].name);
    }
  }
  return reader;
}

Status RowReader::decide(const formats::DatasetRow& row) {
  if (row.columns.contains("messages")) {
    shape_ = Shape::kMessages;
  } else if (row.columns.contains("prompt") && row.columns.contains("completion")) {
    shape_ = Shape::kPromptCompletion;
  } else {
    return invalid(
        fmt::format("{}: neither a column 'messages' nor 'prompt' and 'completion' (columns are {}); name "
                    "your columns with prompt.template and output_features",
                    row_name(row), join(column_names(row), ", ")));
  }
  return {};
}

Result<RowText> RowReader::read(const formats::DatasetRow& row) {
  if (shape_ == Shape::kUndecided) GRAFT_CHECK_OK(decide(row));
  if (shape_ == Shape::kMessages) return read_messages(row);
  return shape_ == Shape::kColumns ? read_columns(row) : read_prompt_completion(row);
}

Result<RowText> RowReader::read_columns(const formats::DatasetRow& row) const {
  RowText text;
  text.row = row.number;
  GRAFT_TRY(text.prompt, template_.fill([&](const std::string& column) { return column_text(row, column); }));
  GRAFT_TRY(text.completion, column_text(row, output_));
  GRAFT_CHECK_OK(check_pair(text, "the prompt", fmt::format("column '{}'", printable(output_, 60))));
  return text;
}

Result<RowText> RowReader::read_prompt_completion(const formats::DatasetRow& row) const {
  RowText text;
  text.row = row.number;
  GRAFT_TRY(text.prompt, column_text(row, "prompt"));
  GRAFT_TRY(text.completion, column_text(row, "completion"));
  GRAFT_CHECK_OK(check_pair(text, "column 'prompt'", "column 'completion'"));
  return text;
}

Result<RowText> RowReader::read_messages(const formats::DatasetRow& row) {
  const auto cell = row.columns.find("messages");
  if (cell == row.columns.end()) return missing_column(row, "messages");
  RowText text;
  text.row = row.number;
  text.messages = *cell;
  if (cell->is_string()) {  // a cell of a CSV
    auto parsed = parse_ordered_json(cell->get_ref<const std::string&>());
    if (!parsed.ok()) return at(row_name(row) + ": column 'messages'", parsed.error());
    text.messages = std::move(parsed).value();
  }
  GRAFT_CHECK_OK(check_messages(text.messages, row_name(row)));
  return text;
}

}  // namespace graft::recipe
