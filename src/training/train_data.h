#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "recipe/memory_plan.h"
#include "recipe/row_encoder.h"
#include "recipe/training_config.h"
#include "training/base_model.h"
#include "training/batch_source.h"
#include "training/report.h"

namespace graft::training {

// A row as the model is asked about it.
struct SamplePrompt {
  std::string prompt;     // as text, for people
  std::string reference;  // the right answer
  std::vector<int32_t> tokens;
  int64_t row = 0;
};

// A data file made ready for one run.
struct TrainData {
  std::unique_ptr<BatchSource> train;
  std::vector<MicroBatch> validation;
  std::vector<SamplePrompt> prompts;        // from the validation rows, where there are any
  std::vector<std::vector<int32_t>> texts;  // whole rows, for the certificate
  bool samples_are_held_out = false;
  int64_t total_steps = 0;
  int64_t evaluate_every = 0;
  int64_t checkpoint_every = 0;
  std::function<double(int64_t step)> learning_rate;
  std::string dataset_sha256;
  NamedValues counts;                 // for the summary and the report
  std::vector<std::string> warnings;  // rows truncated, left out, ...
  std::string preview;                // one example with what carries loss marked
  SessionSettings session;
  int32_t sample_tokens = 0;  // positions of the cache that samples and the certificate need
  recipe::MemoryPlan memory;
};

// Rows as this model reads them.
Result<recipe::RowEncoder> row_encoder(const recipe::TrainingConfig& config, const BaseModelInfo& base);

// Reads and tokenises the data file of `config` and plans the run. Errors name the file, the row and the remedy.
Result<TrainData> prepare_train_data(const recipe::TrainingConfig& config, const BaseModelInfo& base);

}  // namespace graft::training
