#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "recipe/prepare.h"
#include "recipe/same_rows.h"
#include "recipe/training_config.h"

namespace graft::recipe {

struct HistogramBar {
  int64_t from = 0;  // tokens, both inclusive
  int64_t to = 0;
  int64_t rows = 0;
};

// What there is to know about a data file before a run.
struct DataReport {
  std::string shape;
  int64_t rows = 0;  // in the file
  int64_t train_rows = 0;
  int64_t validation_rows = 0;
  int64_t test_rows = 0;
  int64_t sampled_out = 0;
  int64_t truncated = 0;
  int64_t cut = 0;
  int64_t dropped = 0;
  int64_t invalid = 0;
  std::map<std::string, int64_t> invalid_reasons;
  std::vector<std::string> labels;

  // Tokens of a row before anything is shortened, over all rows that are used.
  int64_t limit = 0;
  int64_t shortest = 0;
  int64_t longest = 0;
  double mean = 0;
  std::vector<std::pair<int, int64_t>> percentiles;  // {50, 90, 95, 99}: nearest rank
  std::vector<HistogramBar> histogram;

  SameRows duplicates;  // among all rows that are used
  SameRows leaks;       // validation and test rows that are train rows as well

  // What an epoch reads of the train rows, and the run: what is counted, and so billed.
  int64_t epoch_tokens = 0;
  int64_t epoch_learned = 0;  // of these, those with loss
  int64_t epochs = 0;
  int64_t run_tokens = 0;
};

// Reads the records from disk, in as many passes as bounded memory needs.
Result<DataReport> make_data_report(const PreparedData& data, const TrainingConfig& config, int64_t limit);

nlohmann::ordered_json to_json(const DataReport& report);
std::string to_text(const DataReport& report);  // a page for a terminal, with bars

}  // namespace graft::recipe
