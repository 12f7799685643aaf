#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <vector>

#include "base/result.h"
#include "training/base_model.h"
#include "training/metrics.h"
#include "training/session.h"
#include "training/train_data.h"

namespace graft::training {

// Scores a session by its greedy answers to some prompts: the evaluation by generation during a training run.
class GeneratedEvaluation {
 public:
  // `base` and `data` outlive it. The prompts are those of `data`.
  GeneratedEvaluation(const BaseModelInfo& base, const TrainData& data, Metrics metrics, int64_t max_new_tokens)
      : base_(base), data_(data), metrics_(std::move(metrics)), max_new_tokens_(max_new_tokens) {}

  // The metrics' means, or nothing where `stop` was set. Builds a model over the session's weights for the time of the
  // call.
  Result<std::optional<MetricValues>> operator()(Session& session, const std::atomic<bool>& stop);

 private:
  const BaseModelInfo& base_;
  const TrainData& data_;
  Metrics metrics_;
  int64_t max_new_tokens_;
};

// The metrics that a run computes at its evaluations: trainer.evaluation_metrics, and trainer.validation_metric where
// it is no loss.
std::vector<std::string> evaluation_metrics(const recipe::TrainerConfig& trainer);

}  // namespace graft::training
