#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "base/progress.h"
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
  MicroBatches validation;
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

// Who is told how far reading is, and can stop it.
struct DataWatch {
  std::ostream* out = nullptr;  // null: nobody
  ProgressStyle progress = ProgressStyle::kQuiet;
  const std::atomic<bool>* stop = nullptr;
};

// Reads and tokenises the data file of `config`, or finds it prepared (recipe/prepare_file.h), and plans the run.
// Errors name the file, the row and the remedy; kCancelled where it was stopped.
Result<TrainData> prepare_train_data(const recipe::TrainingConfig& config, const BaseModelInfo& base,
                                     const DataWatch& watch = {});

}  // namespace graft::training
