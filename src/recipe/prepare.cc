#include "recipe/prepare.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <span>
#include <unordered_map>

#include "base/digest.h"
#include "base/strings.h"
#include "recipe/encode_row.h"
#include "recipe/row_workers.h"

namespace graft::recipe {
namespace {

constexpr size_t kMostReasons = 20;
constexpr int64_t kRowsBetweenReports = 512;
constexpr size_t kCandidates = 256;  // rows among which samples are looked for where the splits come last
constexpr size_t kCandidateBytes = size_t{8} << 20;

std::string digest_of(std::span<const Example> examples) {
  Sha256 digest;
  const auto add = [&](const void* data, size_t size) {
    digest.update(std::string_view(static_cast<const char*>(data), size));
  };
  for (const Example& example : examples) {
    const uint64_t length = example.tokens.size();
    add(&length, sizeof length);
    add(example.tokens.data(), length * sizeof(int32_t));
    add(example.supervised.data(), length);
    if (example.label >= 0) add(&example.label, sizeof example.label);
  }
  return digest.hex();
}

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

// Takes the outcomes in the order of the rows.
class Preparation {
 public:
  Preparation(const TrainingConfig& config, const RowEncoder& encoder, const PrepareOptions& options,
              const RowPipeline& pipeline)
      : config_(config), encoder_(encoder), options_(options), pipeline_(pipeline) {
    data_.shape = pipeline.shape();
  }

  Status add(EncodedRow row) {
    ++data_.rows;
    switch (row.state) {
      case EncodedRow::State::kRefused:
        return row.error;
      case EncodedRow::State::kInvalid:
        return leave_out(row.error);
      case EncodedRow::State::kSampledOut:
        ++data_.sampled_out;
        return {};
      case EncodedRow::State::kTooLong:
        ++data_.dropped;
        return {};
      case EncodedRow::State::kEncoded:
        break;
    }
    keep(std::move(row));
    return {};
  }

  Result<PreparedData> finish(const std::string& name) {
    if (pipeline_.stratifies()) split_by_group();
    for (size_t i = 0; i < examples_.size(); ++i) {
      examples_of(data_.records[record_of_[i]].split).push_back(std::move(examples_[i]));
    }
    if (data_.train.empty()) return nothing_left(name);
    if (Status known = name_labels(); !known.ok()) return at(name, known.error());
    data_.digest = digest_of(data_.train);
    if (pipeline_.stratifies()) choose_candidates();
    if (data_.validation.empty()) data_.prompts = std::move(train_prompts_);
    return std::move(data_);
  }

 private:
  [[nodiscard]] Error nothing_left(const std::string& name) const {
    return invalid(fmt::format(
        "{}: none of its {} rows is left to train on ({} left out by sample_ratio, {} too long, {} invalid, {} for "
        "validation, {} for test); see preprocessing{}",
        name, data_.rows, data_.sampled_out, data_.dropped, data_.invalid, data_.validation.size(), data_.test.size(),
        data_.invalid > 0 ? "; " + data_.first_invalid : std::string()));
  }

  std::vector<Example>& examples_of(Split split) {
    if (split == Split::kTrain) return data_.train;
    return split == Split::kValidation ? data_.validation : data_.test;
  }

  Status leave_out(const Error& error) {
    if (config_.preprocessing.invalid_rows == "refuse") return error;
    if (data_.invalid++ == 0) data_.first_invalid = error.message;
    std::string reason = reason_of(error.message);
    auto& reasons = data_.invalid_reasons;
    if (!reasons.contains(reason) && reasons.size() >= kMostReasons) reason = "other reasons";
    ++reasons[reason];
    return {};
  }

  void keep(EncodedRow row) {
    data_.truncated += row.record.shortened && !row.text.document ? 1 : 0;
    data_.cut += row.record.shortened && row.text.document ? 1 : 0;
    if (row.text.is_labelled) row.pieces.front().label = number_of(row.text.completion, label_numbers_, labels_);
    if (pipeline_.stratifies()) groups_.push_back(number_of(row.group, group_numbers_, group_names_));
    for (Example& piece : row.pieces) {
      data_.longest = std::max(data_.longest, static_cast<int64_t>(piece.tokens.size()));
      record_of_.push_back(data_.records.size());
      examples_.push_back(std::move(piece));
    }
    if (pipeline_.stratifies()) {
      keep_candidate(std::move(row.text));
    } else {
      keep_prompt(row.text, row.record.split);
    }
    data_.records.push_back(row.record);
  }

  // In the order in which they were seen.
  static int32_t number_of(const std::string& name, std::unordered_map<std::string, int32_t>& numbers,
                           std::vector<std::string>& names) {
    const auto [place, is_new] = numbers.try_emplace(name, static_cast<int32_t>(names.size()));
    if (is_new) names.push_back(name);
    return place->second;
  }

  void split_by_group() {
    const auto splits = stratified_split(groups_, static_cast<uint64_t>(config_.random_seed),
                                         config_.preprocessing.split.probabilities);
    for (size_t i = 0; i < splits.size(); ++i) data_.records[i].split = splits[i];
  }

  // Labels get their numbers by name, and only the train rows have a say.
  Status name_labels() {
    if (labels_.empty()) return {};
    std::vector<bool> seen(labels_.size());
    for (const Example& example : data_.train) seen[static_cast<size_t>(example.label)] = true;
    for (size_t i = 0; i < labels_.size(); ++i) {
      if (seen[i]) data_.labels.push_back(labels_[i]);
    }
    std::sort(data_.labels.begin(), data_.labels.end());
    std::vector<int32_t> number(labels_.size(), -1);
    for (size_t i = 0; i < labels_.size(); ++i) {
      if (!seen[i]) continue;
      const auto place = std::lower_bound(data_.labels.begin(), data_.labels.end(), labels_[i]);
      number[i] = static_cast<int32_t>(place - data_.labels.begin());
    }
    GRAFT_CHECK_OK(check_unseen(data_.validation, number, "validation"));
    GRAFT_CHECK_OK(check_unseen(data_.test, number, "test"));
    for (auto* examples : {&data_.train, &data_.validation, &data_.test}) {
      for (Example& example : *examples) example.label = number[static_cast<size_t>(example.label)];
    }
    return {};
  }

  Status check_unseen(const std::vector<Example>& examples, const std::vector<int32_t>& number, const char* what) {
    std::vector<std::string> unseen;
    int64_t first = 0;
    for (const Example& example : examples) {
      const auto label = static_cast<size_t>(example.label);
      if (number[label] >= 0) continue;
      const std::string name = "'" + printable(labels_[label], 40) + "'";
      if (std::find(unseen.begin(), unseen.end(), name) != unseen.end()) continue;
      if (unseen.empty()) first = example.row;
      unseen.push_back(name);
      if (unseen.size() == 10) break;
    }
    if (unseen.empty()) return {};
    return invalid(
        fmt::format("row {}: a {} row has a label that no training row has ({}); add training rows with it, split by "
                    "preprocessing.split.type: stratify, or correct the label",
                    first, what, join(unseen, ", ")));
  }

  void keep_prompt(const RowText& text, Split split) {
    std::vector<PromptExample>& prompts = split == Split::kValidation ? data_.prompts : train_prompts_;
    if (split == Split::kTest || prompts.size() >= options_.prompt_count || text.document) return;
    auto prompt = encoder_.prompt(text);
    // An answer that is not plain text has no sample to compare with, and a prompt that was cut asks something else.
    if (!prompt.ok() || static_cast<int64_t>(prompt->tokens.size()) >= pipeline_.limit()) return;
    prompts.push_back(std::move(prompt).value());
  }

  void keep_candidate(RowText text) {
    const size_t bytes = bytes_of(text);
    if (candidates_.size() >= kCandidates || candidate_bytes_ + bytes > kCandidateBytes) return;
    candidate_bytes_ += bytes;
    candidates_.push_back({data_.records.size(), std::move(text)});
  }

  void choose_candidates() {
    for (const auto& [record, text] : candidates_) keep_prompt(text, data_.records[record].split);
  }

  const TrainingConfig& config_;
  const RowEncoder& encoder_;
  PrepareOptions options_;
  const RowPipeline& pipeline_;
  PreparedData data_;
  std::vector<Example> examples_;
  std::vector<size_t> record_of_;  // of each example
  std::vector<PromptExample> train_prompts_;
  std::unordered_map<std::string, int32_t> label_numbers_;
  std::vector<std::string> labels_;
  std::unordered_map<std::string, int32_t> group_numbers_;
  std::vector<std::string> group_names_;
  std::vector<int32_t> groups_;  // of each record
  std::vector<std::pair<size_t, RowText>> candidates_;
  size_t candidate_bytes_ = 0;
};

}  // namespace

int64_t longest_row(const TrainingConfig& config, int64_t context) {
  return std::min(context, config.preprocessing.global_max_sequence_length.value_or(context));
}

Result<PreparedData> prepare(const TrainingConfig& config, const RowEncoder& encoder, formats::DatasetReader& reader,
                             const std::string& name, const PrepareOptions& options) {
  GRAFT_TRY(std::optional<formats::DatasetRow> row, reader.next());
  if (!row) return invalid(name + ": has no rows");
  const auto pipeline = RowPipeline::create(config, encoder, options.max_length, *row);
  if (!pipeline.ok()) return at(name, pipeline.error());
  Preparation preparation(config, encoder, options, *pipeline);
  int64_t taken = 0;
  RowWorkers workers(*pipeline, options.threads, [&](EncodedRow encoded) {
    if (options.on_rows && ++taken % kRowsBetweenReports == 0) options.on_rows(taken);
    return preparation.add(std::move(encoded));
  });
  while (row) {
    if (Status added = workers.add(std::move(*row)); !added.ok()) return at(name, added.error());
    GRAFT_TRY(row, reader.next());
  }
  if (Status added = workers.finish(); !added.ok()) return at(name, added.error());
  return preparation.finish(name);
}

}  // namespace graft::recipe
