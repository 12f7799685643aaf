#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "training/verb.h"

namespace graft::training {

struct EvalOptions {
  std::optional<std::string> config;   // how rows become prompts, and the model
  std::vector<std::string> overrides;  // --set, of the config
  std::optional<std::string> model;    // wins over the config's base_model
  std::optional<std::string> adapter;  // a PEFT directory
  std::string dataset;
  std::optional<std::string> prompt_template;  // without a config: "{text}\nSpam or ham?"
  std::optional<std::string> label_column;     // with it
  std::optional<int64_t> max_new_tokens;
  std::optional<int64_t> limit;  // the first rows only
  std::optional<std::string> dtype;
  std::optional<std::string> output;  // predictions, one JSON object a line
  bool loss = false;                  // loss and perplexity of the right answers, too
  bool json = false;
  int32_t threads = 0;
};

// `graft eval`: asks the model about every row of a data file, greedily, and counts exact matches (case, surrounding
// white space and a final full stop do not matter). Returns the exit code.
int run_eval(const EvalOptions& options, const VerbContext& context);

}  // namespace graft::training
