#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "formats/dataset.h"
#include "recipe/example_set.h"
#include "recipe/row_encoder.h"
#include "recipe/split.h"
#include "recipe/training_config.h"

namespace graft::recipe {

// What is remembered of a row that was encoded, in the order of the file.
struct RowRecord {
  int64_t row = 0;     // from 1
  int64_t tokens = 0;  // before anything was shortened
  uint64_t exact = 0;  // digest of what it says: equal rows have equal ones
  uint64_t near = 0;   // the same without case (ASCII) and with white space made one space
  Split split = Split::kTrain;
  bool shortened = false;
};

// A data file, made ready. The examples lie on disk: memory holds some bytes for each, whatever their length.
struct PreparedData {
  ExampleSet train;
  ExampleSet validation;
  ExampleSet test;
  // The validation rows again (the first train rows where there are none), as a model is asked: for samples.
  std::vector<PromptExample> prompts;

  RowShape shape = RowShape::kColumns;
  int64_t rows = 0;                                // read
  int64_t sampled_out = 0;                         // left out by preprocessing.sample_ratio
  int64_t truncated = 0;                           // shortened to the longest length
  int64_t cut = 0;                                 // documents cut into pieces
  int64_t dropped = 0;                             // left out for being longer
  int64_t invalid = 0;                             // left out by preprocessing.invalid_rows
  int64_t longest = 0;                             // tokens of the longest example, after shortening
  std::map<std::string, int64_t> invalid_reasons;  // -> rows
  std::string first_invalid;                       // the whole message of the first one
  std::vector<std::string> labels;                 // classification: of the training rows, sorted
  std::string digest;                              // SHA-256 over the train examples: what a data cursor belongs to

  // Of the rows that became examples, in order; read from disk each time.
  Status each_record(const std::function<void(const RowRecord&)>& take) const;
  [[nodiscard]] int64_t records() const { return static_cast<int64_t>(splits.size()); }

  std::shared_ptr<const ExampleFile> file;  // of all three
  std::vector<Split> splits;                // of each record
};

struct PrepareOptions {
  int64_t max_length = 0;   // the model's context
  size_t prompt_count = 8;  // PreparedData::prompts at most
  int32_t threads = 0;      // that encode rows; 0: as many as the machine has cores. Changes no result
  std::function<void(int64_t rows)> on_rows = {};             // told now and then how many rows are done
  std::function<void(const std::string& line)> on_note = {};  // for a person: what was damaged, what is waited for
  const std::atomic<bool>* stop = nullptr;                    // asks to stop: a kCancelled error
  // Where the examples go and are found again (encoded_rows.h), which belongs to this data, config and model alone, and
  // is locked by the caller. Empty: into files without a name.
  std::filesystem::path directory = {};
};

// So many prompts are kept on disk at least, so that runs that want different numbers share the examples.
size_t stored_prompts(const PrepareOptions& options);

// Longest row in tokens: preprocessing.global_max_sequence_length, the model's context, whichever is shorter.
int64_t longest_row(const TrainingConfig& config, int64_t context);

// Reads all rows, in order; they are encoded side by side and written to disk as they come. Where options.directory
// holds the beginning of that already, those rows are read but not encoded again; where it holds all of it, `reader` is
// not asked. Errors name the file by `name`, the row and the remedy: missing columns, empty rows, nothing to learn,
// rows too long where they are refused, labels that no training row has, no rows at all.
Result<PreparedData> prepare(const TrainingConfig& config, const RowEncoder& encoder, formats::DatasetReader& reader,
                             const std::string& name, const PrepareOptions& options);

}  // namespace graft::recipe
