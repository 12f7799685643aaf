#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "formats/model_spec.h"
#include "training/session.h"

// What every session asks of a batch.
namespace graft::training {

// Rows that carry loss, and what they predict.
struct LabelledRows {
  std::vector<int64_t> rows;
  std::vector<int32_t> labels;
};
LabelledRows labelled_rows(const PackedBatch& batch);

// Errors: internal where the batch does not hold together, invalid where a sequence is longer than the model takes.
Status check_batch(const PackedBatch& batch, const formats::ModelSpec& spec);

}  // namespace graft::training
