#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace graft::recipe {

// Case folded (ASCII), surrounding white space and a final full stop removed, runs of white space made one space.
std::string normalise_answer(std::string_view text);

// Counts of answers against references, both normalised.
class AnswerScore {
 public:
  void add(std::string_view reference, std::string_view answer);

  [[nodiscard]] int64_t rows() const { return rows_; }
  [[nodiscard]] int64_t correct() const { return correct_; }
  [[nodiscard]] double accuracy() const;  // exact matches / rows; 0 without rows
  // reference -> answer -> rows. Answers that are no row's reference are counted as themselves.
  [[nodiscard]] const std::map<std::string, std::map<std::string, int64_t>>& confusion() const { return confusion_; }

  struct LabelScore {
    int64_t rows = 0;      // with this reference
    int64_t answered = 0;  // with this answer
    int64_t correct = 0;
    double precision = 0;  // correct / answered
    double recall = 0;     // correct / rows
    double f1 = 0;
  };
  [[nodiscard]] std::map<std::string, LabelScore> labels() const;  // of the references

 private:
  int64_t rows_ = 0;
  int64_t correct_ = 0;
  std::map<std::string, std::map<std::string, int64_t>> confusion_;
};

// exp(loss / tokens), of a summed loss in nats; infinity where it overflows, not-a-number without tokens.
double perplexity(double loss_sum, int64_t tokens);

}  // namespace graft::recipe
