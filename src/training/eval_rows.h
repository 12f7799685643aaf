#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "recipe/row_encoder.h"
#include "training/base_model.h"

namespace graft::training {

// A row of a data file, as the model is asked about it and as it is scored.
struct EvalRow {
  recipe::PromptExample prompt;
  recipe::Example whole;  // prompt and right answer; empty where only the prompt was asked for
};

struct EvalData {
  std::vector<EvalRow> rows;
  int64_t truncated = 0;
  int64_t dropped = 0;
  int64_t longest = 0;  // tokens of the longest prompt or row
};

struct EvalDataOptions {
  int64_t max_new_tokens = 0;
  int64_t limit = 0;  // rows; 0: all
  bool whole = false;
};

// Errors name the file, the row and the remedy.
Result<EvalData> read_eval_rows(const recipe::TrainingConfig& config, const BaseModelInfo& base,
                                const std::string& dataset, const EvalDataOptions& options);

}  // namespace graft::training
