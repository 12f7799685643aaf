#pragma once

#include <optional>
#include <string>
#include <vector>

#include "training/row_options.h"
#include "training/verb.h"

namespace graft::training {

struct EvalOptions : RowOptions {
  std::optional<std::string> output;  // predictions, one JSON object a line
  bool loss = false;                  // loss and perplexity of the right answers, too
  std::vector<std::string> metrics;   // more scores: names of recipe/text_metrics.h, or Python files (python_metric.h)
  bool json = false;
};

// `graft eval`: asks the model about every row of a data file, greedily, and counts exact matches (case, surrounding
// white space and a final full stop do not matter). The answer of an adapter that classifies is its class. Returns the
// exit code.
int run_eval(const EvalOptions& options, const VerbContext& context);

}  // namespace graft::training
