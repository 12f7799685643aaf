#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "recipe/training_config.h"

namespace graft::training {

// What the verbs that ask a model about every row of a data file have in common.
struct RowOptions {
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
  int32_t threads = 0;
};

// The column of the right answer where nobody has named one.
inline constexpr const char* kNoLabelColumn = "(no label column)";

// The config, or one made of the flags. `needs_answers`: every row must have a right answer. Errors are wrong use.
Result<recipe::TrainingConfig> load_row_config(const RowOptions& options, bool needs_answers);

// Errors: there is no adapter in the directory.
Status check_adapter(const std::optional<std::string>& adapter);

}  // namespace graft::training
