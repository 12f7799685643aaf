#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "formats/dataset.h"
#include "recipe/prompt_template.h"
#include "recipe/row_shape.h"
#include "recipe/training_config.h"

namespace graft::recipe {

// What a row asks and answers, before it is tokenised: a prompt with its completion, a chat, a document, or a prompt
// with its label.
struct RowText {
  int64_t row = 0;  // in the data file, from 1
  std::string prompt;
  std::string completion;           // the label, where is_labelled
  nlohmann::ordered_json messages;  // null, or an array of {role, content, ...}
  nlohmann::ordered_json tools;     // null, or the functions that the chat may call
  std::optional<std::string> document;
  bool is_labelled = false;  // classification: `completion` is one of a few labels, not text to learn

  [[nodiscard]] bool is_chat() const { return !messages.is_null(); }
};

// Picks the columns out of a row as the config says. Errors begin with the row: "row 17: column 'lable' missing; ...".
//
// The prompt of `alpaca` is Stanford Alpaca's text around instruction and input; that of `question_answer` is
// "Question: ...\nAnswer:", and a space goes in front of the answer. With prompt.apply_chat_template the user's message
// is instead the instruction, with the input below it after an empty line; or the question.
class RowReader {
 public:
  static Result<RowReader> create(const TrainingConfig& config);

  // The first row decides what rows are where preprocessing.row_format is auto and nothing else says it. Later calls
  // change nothing.
  Status decide(const formats::DatasetRow& row);
  // Decide first. From any thread.
  [[nodiscard]] Result<RowText> read(const formats::DatasetRow& row) const;

  [[nodiscard]] std::optional<RowShape> shape() const { return shape_; }

 private:
  Result<RowText> read_columns(const formats::DatasetRow& row) const;
  Result<RowText> read_alpaca(const formats::DatasetRow& row) const;
  Result<RowText> read_question_answer(const formats::DatasetRow& row) const;

  std::optional<RowShape> shape_;
  bool wrap_ = false;  // prompt and completion become a chat
  bool labelled_ = false;
  PromptTemplate template_;
  std::string output_;  // the column to learn
};

// A cell as text: strings as they are, numbers and booleans as JSON writes them.
// Errors: a missing column (with a suggestion), null, lists and objects.
Result<std::string> column_text(const formats::DatasetRow& row, std::string_view column);

}  // namespace graft::recipe
