#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "formats/dataset.h"
#include "recipe/row_encoder.h"
#include "recipe/row_reader.h"
#include "training/base_model.h"

namespace graft::training {

enum class PromptFit { kWhole, kTruncated, kDropped };

// A row of a data file, as the model is asked about it and as it is scored.
struct EvalRow {
  recipe::PromptExample prompt;
  recipe::Example whole;  // prompt and right answer; empty where only the prompt was asked for
  PromptFit fit = PromptFit::kWhole;
  bool answered = true;  // the row has a right answer
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
  bool answers_optional = false;  // rows may lack the right answer
};

// The rows one after the other, so that the file may be larger than memory.
class EvalRows {
 public:
  // `config` outlives it. Errors name the file, the row and the remedy.
  static Result<EvalRows> open(const recipe::TrainingConfig& config, const BaseModelInfo& base,
                               const std::string& dataset, const EvalDataOptions& options);
  Result<std::optional<EvalRow>> next();  // nothing: the end

 private:
  EvalRows(const recipe::TrainingConfig& config, const BaseModelInfo& base, std::string dataset,
           EvalDataOptions options, recipe::RowEncoder encoder, recipe::RowReader rows,
           std::unique_ptr<formats::DatasetReader> reader);
  Result<EvalRow> read(formats::DatasetRow row);

  const recipe::TrainingConfig& config_;
  int64_t context_;
  std::string dataset_;
  EvalDataOptions options_;
  recipe::RowEncoder encoder_;
  recipe::RowReader rows_;
  std::unique_ptr<formats::DatasetReader> reader_;
  int64_t count_ = 0;
};

// All of them.
Result<EvalData> read_eval_rows(const recipe::TrainingConfig& config, const BaseModelInfo& base,
                                const std::string& dataset, const EvalDataOptions& options);

}  // namespace graft::training
