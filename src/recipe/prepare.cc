#include "recipe/prepare.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <unordered_map>

#include "base/files.h"
#include "base/strings.h"
#include "recipe/arrange.h"
#include "recipe/encode_row.h"
#include "recipe/encoded_rows.h"
#include "recipe/row_workers.h"

namespace graft::recipe {
namespace {

constexpr size_t kMostReasons = 20;
constexpr int64_t kRowsBetweenReports = 512;
constexpr size_t kStoredPrompts = 64;
constexpr int64_t kCandidates = 256;  // rows among which samples are looked for where the splits come last
constexpr int64_t kCandidateBytes = int64_t{8} << 20;
constexpr size_t kChunkBytes = size_t{8} << 20;  // of examples that are written at once
constexpr size_t kChunkRows = 65536;

// "row 17: messages[2]: ..." -> "messages[]: ...", so that equal reasons are counted together.
std::string reason_of(const std::string& message) {
  const size_t colon = message.starts_with("row ") ? message.find(": ") : std::string::npos;
  std::string reason = colon == std::string::npos ? message : message.substr(colon + 2);
  std::string result;
  for (size_t i = 0; i < reason.size(); ++i) {
    const bool index = i > 0 && reason[i] >= '0' && reason[i] <= '9' && (result.ends_with('['));
    if (!index) result += reason[i];
  }
  return printable(result, 200);
}

size_t bytes_of(const RowText& text) {
  size_t bytes = text.prompt.size() + text.completion.size() + (text.document ? text.document->size() : 0);
  if (text.is_chat()) bytes += text.messages.dump().size();
  return bytes;
}

// Takes the outcomes in the order of the rows, and writes them.
class Preparation {
 public:
  Preparation(const TrainingConfig& config, const RowEncoder& encoder, const PrepareOptions& options,
              const RowPipeline& pipeline, EncodedRows& rows)
      : config_(config), encoder_(encoder), options_(options), pipeline_(pipeline), rows_(rows), state_(rows.state()) {
    state_.shape = pipeline.shape();
    state_.stratified = pipeline.stratifies();
    number_all(state_.labels, label_numbers_);
    number_all(state_.groups, group_numbers_);
    for (const StoredPrompt& stored : state_.prompts) ++prompts_of(stored.split);
  }

  Status add(EncodedRow row) {
    ++state_.rows;
    switch (row.state) {
      case EncodedRow::State::kRefused:
        return row.error;
      case EncodedRow::State::kInvalid:
        GRAFT_CHECK_OK(leave_out(row.error));
        break;
      case EncodedRow::State::kSampledOut:
        ++state_.sampled_out;
        break;
      case EncodedRow::State::kTooLong:
        ++state_.dropped;
        break;
      case EncodedRow::State::kEncoded:
        keep(std::move(row));
        break;
    }
    if (rows_.file().waiting_bytes() < kChunkBytes && ++waiting_rows_ < kChunkRows) return {};
    waiting_rows_ = 0;
    return rows_.commit();
  }

 private:
  using Numbers = std::unordered_map<std::string, int32_t>;

  static void number_all(const std::vector<std::string>& names, Numbers& numbers) {
    for (const std::string& name : names) numbers.try_emplace(name, static_cast<int32_t>(numbers.size()));
  }

  // In the order in which they were seen.
  static int32_t number_of(const std::string& name, Numbers& numbers, std::vector<std::string>& names) {
    const auto [place, is_new] = numbers.try_emplace(name, static_cast<int32_t>(names.size()));
    if (is_new) names.push_back(name);
    return place->second;
  }

  Status leave_out(const Error& error) {
    if (config_.preprocessing.invalid_rows == "refuse") return error;
    if (state_.invalid++ == 0) state_.first_invalid = error.message;
    std::string reason = reason_of(error.message);
    auto& reasons = state_.invalid_reasons;
    if (!reasons.contains(reason) && reasons.size() >= kMostReasons) reason = "other reasons";
    ++reasons[reason];
    return {};
  }

  void keep(EncodedRow row) {
    state_.truncated += row.record.shortened && !row.text.document ? 1 : 0;
    state_.cut += row.record.shortened && row.text.document ? 1 : 0;
    StoredExample entry;
    entry.exact = row.record.exact;
    entry.near = row.record.near;
    entry.row_tokens = row.record.tokens;
    entry.split = static_cast<uint8_t>(row.record.split);
    entry.shortened = row.record.shortened ? 1 : 0;
    if (row.text.is_labelled) entry.label = number_of(row.text.completion, label_numbers_, state_.labels);
    if (state_.stratified) entry.group = number_of(row.group, group_numbers_, state_.groups);
    for (const Example& piece : row.pieces) {
      state_.longest = std::max(state_.longest, static_cast<int64_t>(piece.tokens.size()));
      rows_.file().append(piece, entry);
      entry.begins_row = 0;
    }
    if (!state_.stratified || is_candidate(row.text)) keep_prompt(row.text, row.record.split);
    ++state_.records;
  }

  // Where the splits come last, samples are looked for among the first rows.
  bool is_candidate(const RowText& text) {
    const auto bytes = static_cast<int64_t>(bytes_of(text));
    if (state_.candidates >= kCandidates || state_.candidate_bytes + bytes > kCandidateBytes) return false;
    state_.candidate_bytes += bytes;
    ++state_.candidates;
    return true;
  }

  void keep_prompt(const RowText& text, Split split) {
    size_t& kept = prompts_of(split);
    const bool enough = !state_.stratified && kept >= stored_prompts(options_);
    if (split == Split::kTest || enough || text.document) return;
    auto prompt = encoder_.prompt(text);
    // An answer that is not plain text has no sample to compare with, and a prompt that was cut asks something else.
    if (!prompt.ok() || static_cast<int64_t>(prompt->tokens.size()) >= pipeline_.limit()) return;
    state_.prompts.push_back({state_.records, split, std::move(prompt).value()});
    ++kept;
  }

  size_t& prompts_of(Split split) { return split == Split::kValidation ? validation_prompts_ : train_prompts_; }

  const TrainingConfig& config_;
  const RowEncoder& encoder_;
  const PrepareOptions& options_;
  const RowPipeline& pipeline_;
  EncodedRows& rows_;
  EncodingState& state_;
  Numbers label_numbers_;
  Numbers group_numbers_;
  size_t train_prompts_ = 0;
  size_t validation_prompts_ = 0;
  size_t waiting_rows_ = 0;
};

bool should_stop(const PrepareOptions& options) { return options.stop != nullptr && *options.stop; }

Status encode_rows(const TrainingConfig& config, const RowEncoder& encoder, formats::DatasetReader& reader,
                   const std::string& name, const PrepareOptions& options, EncodedRows& rows) {
  GRAFT_TRY(std::optional<formats::DatasetRow> row, reader.next());
  if (!row) return invalid(name + ": has no rows");
  const auto pipeline = RowPipeline::create(config, encoder, options.max_length, *row);
  if (!pipeline.ok()) return at(name, pipeline.error());
  for (int64_t done = rows.state().rows; row && done > 0; --done) {
    if (should_stop(options)) break;
    GRAFT_TRY(row, reader.next());
  }
  Preparation preparation(config, encoder, options, *pipeline, rows);
  RowWorkers workers(*pipeline, options.threads, [&](EncodedRow encoded) {
    const int64_t taken = rows.state().rows + 1;
    if (options.on_rows && taken % kRowsBetweenReports == 0) options.on_rows(taken);
    return preparation.add(std::move(encoded));
  });
  while (row && !should_stop(options)) {
    if (Status added = workers.add(std::move(*row)); !added.ok()) return at(name, added.error());
    GRAFT_TRY(row, reader.next());
  }
  if (Status added = workers.finish(); !added.ok()) return at(name, added.error());
  GRAFT_CHECK_OK(rows.commit());
  if (row) return cancelled("stopped while the data was prepared; the same command goes on from there");
  return {};
}

}  // namespace

int64_t longest_row(const TrainingConfig& config, int64_t context) {
  return std::min(context, config.preprocessing.global_max_sequence_length.value_or(context));
}

size_t stored_prompts(const PrepareOptions& options) { return std::max(options.prompt_count, kStoredPrompts); }

Result<PreparedData> prepare(const TrainingConfig& config, const RowEncoder& encoder, formats::DatasetReader& reader,
                             const std::string& name, const PrepareOptions& options) {
  const auto warn = [&](const std::string& line) {
    if (options.on_note) options.on_note("warning: " + line);
  };
  GRAFT_TRY(EncodedRows rows,
            options.directory.empty() ? EncodedRows::unnamed() : EncodedRows::open(options.directory, warn));
  const auto arranged = [&]() -> Result<PreparedData> {
    if (!rows.finished()) GRAFT_CHECK_OK(encode_rows(config, encoder, reader, name, options, rows));
    return arrange(config, std::move(rows), name, options.prompt_count);
  };
  auto data = arranged();
  // What is wrong with the rows is wrong the next time, too.
  if (!data.ok() && data.error().kind == ErrorKind::kInvalid) {
    if (!options.directory.empty()) GRAFT_CHECK_OK(remove_tree(options.directory));
  }
  return data;
}

}  // namespace graft::recipe
