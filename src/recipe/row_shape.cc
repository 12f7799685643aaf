#include "recipe/row_shape.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/strings.h"

namespace graft::recipe {
namespace {

struct KnownShape {
  RowShape shape;
  std::string_view name;
  std::array<std::string_view, 2> needs;  // columns; detect_shape() looks for shapes that need at least one
};

constexpr std::array kShapes = {
    KnownShape{RowShape::kColumns, "columns", {}},
    KnownShape{RowShape::kPromptCompletion, "prompt_completion", {"prompt", "completion"}},
    KnownShape{RowShape::kAlpaca, "alpaca", {"instruction", "output"}},
    KnownShape{RowShape::kQuestionAnswer, "question_answer", {"question", "answer"}},
    KnownShape{RowShape::kMessages, "messages", {"messages", ""}},
    KnownShape{RowShape::kShareGpt, "sharegpt", {"conversations", ""}},
    KnownShape{RowShape::kText, "text", {"text", ""}},
};

// Beside a column `text`, one of these makes it doubtful that the text alone is to be learned.
constexpr std::array<std::string_view, 12> kAnswers = {"answer",   "category",   "class",   "completion",
                                                       "label",    "label_text", "labels",  "output",
                                                       "response", "sentiment",  "summary", "target"};

bool fits(const KnownShape& known, const nlohmann::ordered_json& columns) {
  if (known.needs[0].empty()) return false;
  return std::all_of(known.needs.begin(), known.needs.end(),
                     [&](std::string_view name) { return name.empty() || columns.contains(name); });
}

std::string needs_of(const KnownShape& known) {
  return known.needs[1].empty() ? std::string(known.needs[0])
                                : fmt::format("{} and {}", known.needs[0], known.needs[1]);
}

std::string column_list(const nlohmann::ordered_json& columns) {
  std::vector<std::string> names;
  for (const auto& [name, value] : columns.items()) names.push_back(printable(name, 60));
  return names.empty() ? "none" : join(names, ", ");
}

Error no_shape(const nlohmann::ordered_json& columns) {
  std::vector<std::string> known;
  for (const KnownShape& shape : kShapes) {
    if (!shape.needs[0].empty()) known.push_back(needs_of(shape));
  }
  return invalid(
      fmt::format("the columns ({}) are none of the shapes that are understood by themselves ({}); name your columns "
                  "with prompt.template and output_features",
                  column_list(columns), join(known, "; ")));
}

Error several_shapes(const std::vector<const KnownShape*>& found) {
  std::vector<std::string> shapes;
  std::vector<std::string> ways;
  for (const KnownShape* known : found) {
    shapes.push_back(fmt::format("{} ({})", known->name, needs_of(*known)));
    ways.push_back(std::string(known->name));
  }
  return invalid(fmt::format(
      "the columns fit more than one shape: {}; say which with preprocessing.row_format: {}; or name your columns with "
      "prompt.template and output_features",
      join(shapes, ", "), join(ways, " or ")));
}

Error text_with_answer(std::string_view answer) {
  return invalid(fmt::format(
      "the columns text and {0} can mean two things; to learn all of the text, write preprocessing.row_format: text; "
      "to "
      "learn the column {0} from the text, name both with prompt.template (or input_features) and output_features",
      answer));
}

}  // namespace

std::string_view name_of(RowShape shape) {
  for (const KnownShape& known : kShapes) {
    if (known.shape == shape) return known.name;
  }
  return "";
}

std::vector<std::string> row_format_names() {
  std::vector<std::string> names = {"auto"};
  for (const KnownShape& known : kShapes) names.emplace_back(known.name);
  return names;
}

RowShape shape_named(std::string_view name) {
  for (const KnownShape& known : kShapes) {
    if (known.name == name) return known.shape;
  }
  return RowShape::kColumns;
}

Result<RowShape> detect_shape(const nlohmann::ordered_json& columns) {
  std::vector<const KnownShape*> found;
  for (const KnownShape& known : kShapes) {
    if (fits(known, columns)) found.push_back(&known);
  }
  if (found.empty()) return no_shape(columns);
  if (found.size() > 1) return several_shapes(found);
  if (found[0]->shape == RowShape::kText) {
    for (const std::string_view answer : kAnswers) {
      if (columns.contains(answer)) return text_with_answer(answer);
    }
  }
  return found[0]->shape;
}

}  // namespace graft::recipe
