#include "recipe/example.h"

#include <algorithm>
#include <numeric>

namespace graft::recipe {

int64_t supervised_tokens(const ExampleView& example) {
  if (example.supervised.empty()) return 0;
  return std::accumulate(example.supervised.begin() + 1, example.supervised.end(), int64_t{0});
}

bool truncate(Example& example, int64_t limit, const text::Tokenizer& tokenizer) {
  const int64_t length = static_cast<int64_t>(example.tokens.size());
  if (length <= limit) return false;
  const auto first = std::find(example.supervised.begin(), example.supervised.end(), uint8_t{1});
  const int64_t before = first - example.supervised.begin();
  const int64_t front = std::min(length - limit, std::max<int64_t>(0, before - 1));
  const int64_t kept = tokenizer.is_special(example.tokens[0]) ? 1 : 0;
  example.tokens.erase(example.tokens.begin() + kept, example.tokens.begin() + kept + front);
  example.supervised.erase(example.supervised.begin() + kept, example.supervised.begin() + kept + front);
  example.tokens.resize(static_cast<size_t>(limit));
  example.supervised.resize(static_cast<size_t>(limit));
  return true;
}

std::vector<Example> cut_document(Example example, int64_t limit) {
  std::vector<Example> pieces;
  const auto length = static_cast<int64_t>(example.tokens.size());
  if (length <= limit) {
    pieces.push_back(std::move(example));
    return pieces;
  }
  for (int64_t begin = 0; begin + 1 < length; begin += limit - 1) {
    const int64_t end = std::min(begin + limit, length);
    Example piece;
    piece.row = example.row;
    piece.tokens.assign(example.tokens.begin() + begin, example.tokens.begin() + end);
    piece.supervised.assign(example.supervised.begin() + begin, example.supervised.begin() + end);
    if (begin > 0) piece.supervised.front() = 0;
    pieces.push_back(std::move(piece));
  }
  return pieces;
}

std::string preview(const ExampleView& example, const text::Tokenizer& tokenizer, const LossMarks& marks) {
  std::string text;
  for (size_t begin = 0; begin < example.tokens.size();) {
    size_t end = begin;
    while (end < example.tokens.size() && example.supervised[end] == example.supervised[begin]) ++end;
    const std::string piece =
        tokenizer.decode(example.tokens.subspan(begin, end - begin), /*skip_special_tokens=*/false,
                         /*clean_up_spaces=*/false);
    text += example.supervised[begin] != 0 ? marks.begin + piece + marks.end : piece;
    begin = end;
  }
  return text;
}

}  // namespace graft::recipe
