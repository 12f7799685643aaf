#include "recipe/prompt_template.h"

#include <algorithm>
#include <utility>

#include "base/strings.h"

namespace graft::recipe {
namespace {

Error wrong(const std::string& what) { return invalid("prompt.template: " + what); }

}  // namespace

Result<PromptTemplate> PromptTemplate::parse(std::string_view text) {
  PromptTemplate result;
  std::string literal;
  const auto flush = [&] {
    if (!literal.empty()) result.pieces_.push_back({std::exchange(literal, {}), false});
  };
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c != '{' && c != '}') {
      literal += c;
      continue;
    }
    if (i + 1 < text.size() && text[i + 1] == c) {
      literal += c;
      ++i;
      continue;
    }
    if (c == '}') return wrong("a } without its {; write }} for a brace");
    const size_t end = text.find_first_of("{}", i + 1);
    if (end == std::string_view::npos || text[end] == '{') return wrong("a { is not closed; write {{ for a brace");
    const std::string name(text.substr(i + 1, end - i - 1));
    if (name.empty()) return wrong("{} names no column; write {column}, or {{}} for braces");
    if (name.find_first_of("!:") != std::string::npos) {
      return wrong("{" + printable(name, 60) + "}: only plain {column} is supported; write {{ and }} for braces");
    }
    flush();
    result.pieces_.push_back({name, true});
    auto& columns = result.columns_;
    if (std::find(columns.begin(), columns.end(), name) == columns.end()) columns.push_back(name);
    i = end;
  }
  flush();
  return result;
}

PromptTemplate PromptTemplate::column(std::string name) {
  PromptTemplate result;
  result.columns_ = {name};
  result.pieces_ = {{std::move(name), true}};
  return result;
}

Result<std::string> PromptTemplate::fill(
    const std::function<Result<std::string>(const std::string& column)>& value_of) const {
  std::string text;
  for (const Piece& piece : pieces_) {
    if (piece.is_column) {
      GRAFT_TRY(const std::string value, value_of(piece.text));
      text += value;
    } else {
      text += piece.text;
    }
  }
  return text;
}

}  // namespace graft::recipe
