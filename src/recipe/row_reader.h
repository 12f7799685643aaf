#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "base/result.h"
#include "formats/dataset.h"
#include "recipe/prompt_template.h"
#include "recipe/training_config.h"

namespace graft::recipe {

// What a row asks and answers, before it is tokenised: a prompt with its completion, or a chat.
struct RowText {
  int64_t row = 0;  // in the data file, from 1
  std::string prompt;
  std::string completion;
  nlohmann::ordered_json messages;  // null, or an array of {role, content, ...}

  [[nodiscard]] bool is_chat() const { return !messages.is_null(); }
};

// Picks the columns out of a row as the config says. Errors begin with the row: "row 17: column 'lable' missing; ...".
class RowReader {
 public:
  static Result<RowReader> create(const TrainingConfig& config);

  // The first row decides what rows are where preprocessing.row_format is auto and nothing else says it.
  Result<RowText> read(const formats::DatasetRow& row);

 private:
  enum class Shape { kUndecided, kColumns, kPromptCompletion, kMessages };

  Status decide(const formats::DatasetRow& row);
  Result<RowText> read_columns(const formats::DatasetRow& row) const;
  Result<RowText> read_prompt_completion(const formats::DatasetRow& row) const;
  static Result<RowText> read_messages(const formats::DatasetRow& row);

  Shape shape_ = Shape::kUndecided;
  PromptTemplate template_;
  std::string output_;  // the column to learn
};

// A cell as text: strings as they are, numbers and booleans as JSON writes them.
// Errors: a missing column (with a suggestion), null, lists and objects.
Result<std::string> column_text(const formats::DatasetRow& row, const std::string& column);

}  // namespace graft::recipe
