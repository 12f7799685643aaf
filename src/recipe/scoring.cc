#include "recipe/scoring.h"

#include <cmath>
#include <limits>

namespace graft::recipe {
namespace {

bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

double share(int64_t part, int64_t whole) {
  return whole == 0 ? 0.0 : static_cast<double>(part) / static_cast<double>(whole);
}

}  // namespace

std::string normalise_answer(std::string_view text) {
  std::string result;
  bool space = false;
  for (const char c : text) {
    if (is_space(c)) {
      space = !result.empty();
      continue;
    }
    if (space) result += ' ';
    space = false;
    result += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  if (result.ends_with('.')) result.pop_back();
  while (result.ends_with(' ')) result.pop_back();
  return result;
}

void AnswerScore::add(std::string_view reference, std::string_view answer) {
  const std::string expected = normalise_answer(reference);
  const std::string given = normalise_answer(answer);
  ++rows_;
  if (expected == given) ++correct_;
  ++confusion_[expected][given];
}

double AnswerScore::accuracy() const { return share(correct_, rows_); }

std::map<std::string, AnswerScore::LabelScore> AnswerScore::labels() const {
  std::map<std::string, LabelScore> scores;
  for (const auto& [reference, answers] : confusion_) {
    LabelScore& score = scores[reference];
    for (const auto& [answer, count] : answers) {
      score.rows += count;
      if (answer == reference) score.correct += count;
    }
  }
  for (const auto& [reference, answers] : confusion_) {
    for (const auto& [answer, count] : answers) {
      if (const auto label = scores.find(answer); label != scores.end()) label->second.answered += count;
    }
  }
  for (auto& [label, score] : scores) {
    score.precision = share(score.correct, score.answered);
    score.recall = share(score.correct, score.rows);
    score.f1 = share(2 * score.correct, score.rows + score.answered);
  }
  return scores;
}

double perplexity(double loss_sum, int64_t tokens) {
  if (tokens <= 0) return std::numeric_limits<double>::quiet_NaN();
  return std::exp(loss_sum / static_cast<double>(tokens));
}

}  // namespace graft::recipe
