#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace graft::training {

// What bit-identical results depend on beside the inputs. Recorded in every checkpoint.
struct RunEnvironment {
  std::string build;  // version and commit of graft
  std::string isa;    // instruction set of the kernels
  int32_t threads = 0;
};

struct BestEvaluation {
  int64_t step = 0;
  double loss = 0;
  std::optional<double> score = std::nullopt;  // of the metric that decides, where it is not the loss
};

// The loop's own state between two optimizer steps. With the session's state it is all that a resume needs.
struct TrainState {
  int64_t step = 0;                       // optimizer steps done
  double epoch = 0;                       // passes over the data
  int64_t tokens = 0;                     // seen since the start of the run
  int64_t labelled_tokens = 0;            // of these, with loss
  double seconds = 0;                     // spent in steps, evaluations and checkpoints, over all resumes
  std::optional<int64_t> evaluated_step;  // last evaluation
  std::optional<double> validation_loss;  // its result
  std::optional<BestEvaluation> best;     // of those after step 0
  int32_t evaluations_without_improvement = 0;
  bool stopped_early = false;
  nlohmann::json cursor;  // BatchSource::cursor
  RunEnvironment environment;
};

nlohmann::json to_json(const TrainState& state);
Result<TrainState> train_state_from_json(const nlohmann::json& json);

// One line for each difference that may change bits: "threads: 4 when the checkpoint was written, 2 now".
std::vector<std::string> differences(const RunEnvironment& then, const RunEnvironment& now);

}  // namespace graft::training
