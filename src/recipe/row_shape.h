#pragma once

#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace graft::recipe {

// What a row of the data is. The names are those of preprocessing.row_format.
//
//   columns            prompt.template, input_features and output_features of the config say it
//   prompt_completion  {prompt, completion}
//   alpaca             {instruction, input (may be empty or absent), output}
//   question_answer    {question, answer}
//   messages           {messages: [{role, content, tool_calls, ...}], tools (may be absent)}
//   sharegpt           {conversations: [{from, value}], system, tools (may be absent)}
//   text               {text}: a document, all of which is learned
enum class RowShape { kColumns, kPromptCompletion, kAlpaca, kQuestionAnswer, kMessages, kShareGpt, kText };

std::string_view name_of(RowShape shape);
std::vector<std::string> row_format_names();  // "auto" first

// `name` is one of row_format_names() but not "auto".
RowShape shape_named(std::string_view name);

// The shape that the columns of a row fit. Errors: none does, or several do; they name the columns, the shapes and the
// ways to say what is meant.
Result<RowShape> detect_shape(const nlohmann::ordered_json& columns);

}  // namespace graft::recipe
