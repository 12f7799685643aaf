#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "formats/dataset.h"
#include "recipe/row_encoder.h"
#include "recipe/training_config.h"

namespace graft::recipe {

enum class Split { kTrain, kValidation, kTest };

// A data file, made ready.
struct PreparedData {
  std::vector<Example> train;
  std::vector<Example> validation;
  std::vector<Example> test;
  // The validation rows again (the first train rows where there are none), as a model is asked: for samples.
  std::vector<PromptExample> prompts;

  int64_t rows = 0;         // read
  int64_t sampled_out = 0;  // left out by preprocessing.sample_ratio
  int64_t truncated = 0;    // shortened to the longest length
  int64_t dropped = 0;      // left out for being longer
  int64_t longest = 0;      // tokens of the longest example, after shortening
  std::string digest;       // SHA-256 over the train examples: what a data cursor belongs to
};

struct PrepareOptions {
  int64_t max_length = 0;   // the model's context
  size_t prompt_count = 8;  // PreparedData::prompts at most
};

// Longest row in tokens: preprocessing.global_max_sequence_length, the model's context, whichever is shorter.
int64_t longest_row(const TrainingConfig& config, int64_t context);

// Reads all rows, one at a time. Errors name the file by `name`, the row and the remedy: missing columns, empty rows,
// nothing to learn, rows too long where they are refused, no rows at all.
Result<PreparedData> prepare(const TrainingConfig& config, const RowEncoder& encoder, formats::DatasetReader& reader,
                             const std::string& name, const PrepareOptions& options);

// Where the row with this number goes: a function of (seed, number), so that it does not depend on the other rows.
Split random_split(uint64_t seed, int64_t row, const std::vector<double>& probabilities);

}  // namespace graft::recipe
