#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "recipe/example_file.h"
#include "recipe/row_encoder.h"
#include "recipe/row_shape.h"
#include "recipe/split.h"

namespace graft::recipe {

// A row as a model is asked, kept for samples.
struct StoredPrompt {
  int64_t record = 0;  // which of the rows that became examples, from 0
  Split split = Split::kTrain;
  PromptExample prompt;
};

// What is known after the rows so far, beside their examples.
struct EncodingState {
  RowShape shape = RowShape::kColumns;
  bool stratified = false;  // splits are set when all rows are known
  int64_t rows = 0;         // read
  int64_t records = 0;      // of these, rows that became examples
  int64_t sampled_out = 0;
  int64_t truncated = 0;
  int64_t cut = 0;
  int64_t dropped = 0;
  int64_t invalid = 0;
  int64_t longest = 0;
  int64_t candidates = 0;  // rows that samples are looked for among, where the splits come last, and their bytes
  int64_t candidate_bytes = 0;
  std::map<std::string, int64_t> invalid_reasons;
  std::string first_invalid;
  std::vector<std::string> labels;  // in the order in which they were seen
  std::vector<std::string> groups;
  std::vector<StoredPrompt> prompts;
};

// The outcome of encoding a data file, written while its rows stream by and found again by a later run: an ExampleFile
// and a `journal`, a line for each chunk of rows ("CHECKSUM JSON": what the chunk added, and the checksum of its
// examples) and a last one once all rows are done. A chunk counts once its line is whole, so that a killed process
// loses one chunk; the last line is written after everything before it is durable. One process at a time may open
// one for writing: the caller holds a lock.
class EncodedRows {
 public:
  using Warn = std::function<void(const std::string&)>;

  // Without a name: gone with this object.
  static Result<EncodedRows> unnamed();
  // In this directory, which is made where it is missing; with what an earlier process left of it. What is damaged is
  // left out, with a warning.
  static Result<EncodedRows> open(const std::filesystem::path& directory, const Warn& warn);
  EncodedRows(EncodedRows&& other) noexcept;
  EncodedRows& operator=(EncodedRows&&) = delete;
  ~EncodedRows();

  [[nodiscard]] EncodingState& state() { return state_; }
  [[nodiscard]] const EncodingState& state() const { return state_; }
  [[nodiscard]] ExampleFile& file() { return file_; }
  Status commit();  // ends a chunk
  // All rows are done. `digest`: of PreparedData.
  Status finish(const std::string& digest);
  [[nodiscard]] bool finished() const { return digest_.has_value(); }
  [[nodiscard]] const std::string& digest() const { return *digest_; }
  Status discard();  // removes the directory; this object must not be used any more

  // Once it is finished.
  [[nodiscard]] ExampleFile take_file() { return std::move(file_); }

 private:
  explicit EncodedRows(ExampleFile file) : file_(std::move(file)) {}
  enum class Loaded { kWhole, kDamaged };
  Loaded load(const std::string& journal);
  Result<bool> apply(const std::string& line);
  Status append_line(const std::string& json);
  void mark_written();

  std::filesystem::path directory_;  // empty: unnamed
  ExampleFile file_;
  EncodingState state_;
  std::optional<std::string> digest_;
  int journal_ = -1;
  int64_t journal_bytes_ = 0;  // of whole lines
  int64_t rows_written_ = 0;   // of state_, in the journal
  size_t labels_written_ = 0;
  size_t groups_written_ = 0;
  size_t prompts_written_ = 0;
};

}  // namespace graft::recipe
