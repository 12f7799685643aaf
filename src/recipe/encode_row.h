#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "formats/dataset.h"
#include "recipe/prepare.h"
#include "recipe/row_encoder.h"
#include "recipe/row_reader.h"

namespace graft::recipe {

// What became of a row.
struct EncodedRow {
  enum class State { kEncoded, kSampledOut, kTooLong, kInvalid, kRefused };
  State state = State::kEncoded;
  RowText text;
  RowRecord record;
  std::vector<Example> pieces;  // one, but for documents that are cut
  std::string group;            // the value that rows are stratified by
  Error error;                  // kInvalid, kRefused: it begins with the row
};

// Rows -> examples. Immutable: each row's outcome depends on the row alone, so that rows can be encoded on any thread.
class RowPipeline {
 public:
  // `first` is the first row of the file.
  static Result<RowPipeline> create(const TrainingConfig& config, const RowEncoder& encoder, int64_t context,
                                    const formats::DatasetRow& first);

  [[nodiscard]] EncodedRow encode(const formats::DatasetRow& row) const;

  [[nodiscard]] RowShape shape() const { return *reader_.shape(); }
  [[nodiscard]] bool stratifies() const { return split_type_ == "stratify"; }  // splits are set at the end
  [[nodiscard]] int64_t limit() const { return limit_; }

 private:
  RowPipeline(const TrainingConfig& config, const RowEncoder& encoder, RowReader reader, int64_t limit);
  Status fill(const formats::DatasetRow& row, EncodedRow& encoded) const;
  [[nodiscard]] Result<Split> split_of(const formats::DatasetRow& row) const;
  Status shorten(Example example, EncodedRow& encoded) const;

  const TrainingConfig& config_;
  const RowEncoder& encoder_;
  RowReader reader_;
  int64_t limit_;
  uint64_t seed_;
  std::string split_type_;  // random, fixed or stratify
};

}  // namespace graft::recipe
