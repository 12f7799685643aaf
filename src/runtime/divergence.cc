#include "runtime/divergence.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace graft::runtime {
namespace {

constexpr int64_t kPiece = 32;  // positions of a step

// log of the sum of exp(logit)
double log_sum(std::span<const float> logits) {
  const double highest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float value : logits) sum += std::exp(double{value} - highest);
  return highest + std::log(sum);
}

void add_position(std::span<const float> reference, std::span<const float> other, Divergence& total) {
  const double p_sum = log_sum(reference);
  const double q_sum = log_sum(other);
  double divergence = 0;
  for (size_t i = 0; i < reference.size(); ++i) {
    const double log_p = double{reference[i]} - p_sum;
    divergence += std::exp(log_p) * (log_p - (double{other[i]} - q_sum));
  }
  // Rounding may leave a little less than nothing; what is not a number must not pass for agreement.
  divergence = std::isnan(divergence) ? std::numeric_limits<double>::infinity() : std::max(divergence, 0.0);
  total.mean += divergence;  // the sum, until the end
  total.largest = std::max(total.largest, divergence);
  const auto best = [](std::span<const float> row) { return std::max_element(row.begin(), row.end()) - row.begin(); };
  total.same_best += best(reference) == best(other) ? 1 : 0;
  ++total.positions;
}

int64_t capacity(const StepModelInfo& info) {
  return std::min(info.max_position, int64_t{info.num_blocks} * info.block_size);
}

class Comparison {
 public:
  Comparison(const AskedModel& reference, const AskedModel& other) : reference_(reference), other_(other) {}

  Status add(std::span<const int32_t> text) {
    const auto longest = std::min(capacity(reference_.model->info()), capacity(other_.model->info()));
    text = text.first(static_cast<size_t>(std::min(static_cast<int64_t>(text.size()), longest)));
    for (int64_t start = 0; start < static_cast<int64_t>(text.size()); start += kPiece) {
      const auto count = std::min(kPiece, static_cast<int64_t>(text.size()) - start);
      GRAFT_CHECK_OK(add_piece(text.subspan(static_cast<size_t>(start), static_cast<size_t>(count)), start));
    }
    return {};
  }

  Divergence total;

 private:
  static Result<std::span<const float>> ask(const AskedModel& asked, std::span<const int32_t> tokens, int64_t start) {
    const StepModelInfo& info = asked.model->info();
    const int64_t end = start + static_cast<int64_t>(tokens.size());
    std::vector<int32_t> blocks(static_cast<size_t>((end + info.block_size - 1) / info.block_size));
    std::iota(blocks.begin(), blocks.end(), 0);
    const SequenceSlice slice{tokens, start, blocks, asked.adapter, LogitRows::kAll};
    return asked.model->step(std::span(&slice, 1));
  }

  Status add_piece(std::span<const int32_t> tokens, int64_t start) {
    GRAFT_TRY(const std::span<const float> first, ask(reference_, tokens, start));
    GRAFT_TRY(const std::span<const float> second, ask(other_, tokens, start));
    const auto vocab = static_cast<size_t>(reference_.model->info().vocab_size);
    if (first.size() != tokens.size() * vocab || second.size() != first.size()) {
      return internal_error("a model returned another number of logits");
    }
    for (size_t i = 0; i < tokens.size(); ++i) {
      add_position(first.subspan(i * vocab, vocab), second.subspan(i * vocab, vocab), total);
    }
    return {};
  }

  const AskedModel& reference_;
  const AskedModel& other_;
};

}  // namespace

Result<Divergence> measure_divergence(const AskedModel& reference, const AskedModel& other,
                                      std::span<const std::vector<int32_t>> texts) {
  if (reference.model->info().vocab_size != other.model->info().vocab_size) {
    return invalid("two models of different vocabularies cannot be compared");
  }
  if (reference.model == other.model) return invalid("one model's cache cannot hold both sides of a comparison");
  Comparison comparison(reference, other);
  for (const std::vector<int32_t>& text : texts) GRAFT_CHECK_OK(comparison.add(text));
  Divergence total = comparison.total;
  if (total.positions > 0) total.mean /= static_cast<double>(total.positions);
  return total;
}

}  // namespace graft::runtime
