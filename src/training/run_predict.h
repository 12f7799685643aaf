#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "training/row_options.h"
#include "training/verb.h"

namespace graft::training {

struct PredictOptions : RowOptions {
  std::optional<std::string> output;  // JSON lines; standard output without it
  bool resume = false;                // go on behind the rows that `output` has
  double temperature = 0;             // 0: greedy
  std::optional<int64_t> top_k;
  std::optional<double> top_p;
  uint64_t seed = 0;
  bool json = false;  // no progress, and a summary as one JSON object where the predictions go to a file
};

// `graft predict`: the model's answer to every row of a data file, one JSON object a line, in the order of the rows:
//   {"row": 17, "prompt": "...", "prediction": "...", "finish_reason": "eos", "tokens": 5, "reference": "..."}
// Of a classifier: {"row", "prompt", "prediction": "spam", "probabilities": {"ham": 0.1, "spam": 0.9}, "reference"}.
// `reference` is there where the row has a right answer; a row that preprocessing.overlong_rows: drop leaves out has
// "error" instead of a prediction. The whole file is read once before the first answer, so that a bad row is found
// early. A row's answer depends on the row and the options alone, also when it is sampled. Returns the exit code.
int run_predict(const PredictOptions& options, const VerbContext& context);

}  // namespace graft::training
