#include "recipe/row_reader.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/strings.h"
#include "recipe/conversation.h"
#include "recipe/tool_schema.h"

namespace graft::recipe {
namespace {

using Json = nlohmann::ordered_json;

std::string row_name(const formats::DatasetRow& row) { return fmt::format("row {}", row.number); }

std::vector<std::string> column_names(const formats::DatasetRow& row) {
  std::vector<std::string> names;
  for (const auto& [name, value] : row.columns.items()) names.push_back(printable(name, 60));
  return names;
}

Error missing_column(const formats::DatasetRow& row, std::string_view column) {
  const auto names = column_names(row);
  const auto meant = did_you_mean(column, names);
  return invalid(fmt::format("{}: column '{}' missing; columns are {}{}", row_name(row), printable(column, 60),
                             names.empty() ? "none" : join(names, ", "),
                             meant ? "; did you mean " + *meant + "?" : ""));
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

// Absent, null and empty text are nothing.
Result<std::string> optional_text(const formats::DatasetRow& row, std::string_view column) {
  const auto cell = row.columns.find(column);
  if (cell == row.columns.end() || cell->is_null()) return std::string();
  return column_text(row, column);
}

// Absent is null.
Json optional_cell(const formats::DatasetRow& row, std::string_view column) {
  const auto cell = row.columns.find(column);
  return cell == row.columns.end() ? Json() : *cell;
}

Result<RowText> read_prompt_completion(const formats::DatasetRow& row) {
  RowText text;
  text.row = row.number;
  GRAFT_TRY(text.prompt, column_text(row, "prompt"));
  GRAFT_TRY(text.completion, column_text(row, "completion"));
  GRAFT_CHECK_OK(check_pair(text, "column 'prompt'", "column 'completion'"));
  return text;
}

Result<RowText> read_document(const formats::DatasetRow& row) {
  RowText text;
  text.row = row.number;
  GRAFT_TRY(text.document, column_text(row, "text"));
  if (text.document->empty()) {
    return invalid(fmt::format("row {}: column 'text' is empty: there is nothing to learn", row.number));
  }
  return text;
}

Result<RowText> read_chat(const formats::DatasetRow& row, RowShape shape) {
  const std::string_view column = shape == RowShape::kShareGpt ? "conversations" : "messages";
  const auto cell = row.columns.find(column);
  if (cell == row.columns.end()) return missing_column(row, column);
  RowText text;
  text.row = row.number;
  auto messages =
      shape == RowShape::kShareGpt ? read_sharegpt(*cell, optional_cell(row, "system")) : read_messages(*cell);
  if (!messages.ok()) return at(row_name(row), messages.error());
  text.messages = std::move(messages).value();
  auto tools = read_tools(optional_cell(row, "tools"));
  if (!tools.ok()) return at(row_name(row), tools.error());
  text.tools = std::move(tools).value();
  return text;
}

// The wording that Alpaca's data was made and is trained with.
std::string alpaca_prompt(const std::string& instruction, const std::string& input) {
  if (input.empty()) {
    return "Below is an instruction that describes a task. Write a response that appropriately completes the "
           "request.\n\n### Instruction:\n" +
           instruction + "\n\n### Response:\n";
  }
  return "Below is an instruction that describes a task, paired with an input that provides further context. Write a "
         "response that appropriately completes the request.\n\n### Instruction:\n" +
         instruction + "\n\n### Input:\n" + input + "\n\n### Response:\n";
}

}  // namespace

Result<std::string> column_text(const formats::DatasetRow& row, std::string_view column) {
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
  reader.wrap_ = config.prompt.apply_chat_template;
  const std::string& format = config.preprocessing.row_format;
  if (format != "auto") reader.shape_ = shape_named(format);
  if (format == "columns" || !config.output_features.empty() || config.prompt.template_text) {
    reader.shape_ = RowShape::kColumns;
    if (config.output_features.size() != 1) return invalid("output_features: exactly one is needed");
    reader.output_ = config.output_features[0].name;
    reader.labelled_ = config.output_features[0].type == "category";
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
  if (shape_) return {};
  auto shape = detect_shape(row.columns);
  if (!shape.ok()) return at(row_name(row), shape.error());
  shape_ = *shape;
  return {};
}

Result<RowText> RowReader::read(const formats::DatasetRow& row) const {
  if (!shape_) return internal_error("a row was read before the shape of the rows was decided");
  switch (*shape_) {
    case RowShape::kColumns:
      return read_columns(row);
    case RowShape::kPromptCompletion:
      return read_prompt_completion(row);
    case RowShape::kAlpaca:
      return read_alpaca(row);
    case RowShape::kQuestionAnswer:
      return read_question_answer(row);
    case RowShape::kMessages:
    case RowShape::kShareGpt:
      return read_chat(row, *shape_);
    case RowShape::kText:
      return read_document(row);
  }
  return internal_error("no such shape of rows");
}

Result<RowText> RowReader::read_columns(const formats::DatasetRow& row) const {
  RowText text;
  text.row = row.number;
  text.is_labelled = labelled_;
  GRAFT_TRY(text.prompt, template_.fill([&](const std::string& column) { return column_text(row, column); }));
  GRAFT_TRY(text.completion, column_text(row, output_));
  GRAFT_CHECK_OK(check_pair(text, "the prompt", fmt::format("column '{}'", printable(output_, 60))));
  return text;
}

Result<RowText> RowReader::read_alpaca(const formats::DatasetRow& row) const {
  GRAFT_TRY(const std::string instruction, column_text(row, "instruction"));
  GRAFT_TRY(const std::string input, optional_text(row, "input"));
  RowText text;
  text.row = row.number;
  text.prompt = instruction;
  GRAFT_TRY(text.completion, column_text(row, "output"));
  GRAFT_CHECK_OK(check_pair(text, "column 'instruction'", "column 'output'"));
  if (!wrap_) {
    text.prompt = alpaca_prompt(instruction, input);
  } else if (!input.empty()) {
    text.prompt += "\n\n" + input;
  }
  return text;
}

Result<RowText> RowReader::read_question_answer(const formats::DatasetRow& row) const {
  RowText text;
  text.row = row.number;
  GRAFT_TRY(text.prompt, column_text(row, "question"));
  GRAFT_TRY(text.completion, column_text(row, "answer"));
  GRAFT_CHECK_OK(check_pair(text, "column 'question'", "column 'answer'"));
  if (!wrap_) {
    text.prompt = "Question: " + text.prompt + "\nAnswer:";
    text.completion.insert(0, " ");
  }
  return text;
}

}  // namespace graft::recipe
