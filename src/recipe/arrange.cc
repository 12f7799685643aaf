#include "recipe/arrange.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/digest.h"
#include "base/strings.h"

namespace graft::recipe {
namespace {

constexpr size_t kMostUnseen = 10;

class Arrangement {
 public:
  Arrangement(const TrainingConfig& config, EncodedRows rows, const std::string& name)
      : config_(config), rows_(std::move(rows)), name_(name) {}

  Result<PreparedData> run(size_t prompt_count) {
    copy_counts();
    GRAFT_CHECK_OK(set_splits());
    GRAFT_CHECK_OK(fill_sets());
    if (data_.train.empty()) return nothing_left();
    if (Status known = name_labels(); !known.ok()) return at(name_, known.error());
    if (!rows_.finished()) {
      GRAFT_TRY(const std::string digest, digest_of_train());
      GRAFT_CHECK_OK(rows_.finish(digest));
    }
    data_.digest = rows_.digest();
    choose_prompts(prompt_count);
    *file_ = rows_.take_file();
    return std::move(data_);
  }

 private:
  void copy_counts() {
    const EncodingState& state = rows_.state();
    data_.shape = state.shape;
    data_.rows = state.rows;
    data_.sampled_out = state.sampled_out;
    data_.truncated = state.truncated;
    data_.cut = state.cut;
    data_.dropped = state.dropped;
    data_.invalid = state.invalid;
    data_.longest = state.longest;
    data_.invalid_reasons = state.invalid_reasons;
    data_.first_invalid = state.first_invalid;
  }

  Status set_splits() {
    const bool stratified = rows_.state().stratified;
    std::vector<int32_t> groups;
    data_.splits.reserve(static_cast<size_t>(rows_.state().records));
    GRAFT_CHECK_OK(rows_.file().each_entry([&](const StoredExample& entry) {
      if (entry.begins_row == 0) return;
      if (stratified) {
        groups.push_back(entry.group);
      } else {
        data_.splits.push_back(static_cast<Split>(entry.split));
      }
    }));
    if (stratified) {
      data_.splits = stratified_split(groups, static_cast<uint64_t>(config_.random_seed),
                                      config_.preprocessing.split.probabilities);
    }
    return {};
  }

  ExampleSet& set_of(Split split) {
    if (split == Split::kTrain) return data_.train;
    return split == Split::kValidation ? data_.validation : data_.test;
  }

  Status fill_sets() {
    data_.file = file_;
    for (ExampleSet* set : {&data_.train, &data_.validation, &data_.test}) *set = ExampleSet(file_);
    int64_t number = 0;
    size_t record = 0;
    return rows_.file().each_entry([&](const StoredExample& entry) {
      record += entry.begins_row;
      set_of(data_.splits[record - 1]).add(number++, entry);
    });
  }

  [[nodiscard]] Error nothing_left() const {
    return invalid(fmt::format(
        "{}: none of its {} rows is left to train on ({} left out by sample_ratio, {} too long, {} invalid, {} for "
        "validation, {} for test); see preprocessing{}",
        name_, data_.rows, data_.sampled_out, data_.dropped, data_.invalid, data_.validation.size(), data_.test.size(),
        data_.invalid > 0 ? "; " + data_.first_invalid : std::string()));
  }

  // Labels get their numbers by name, and only the train rows have a say.
  Status name_labels() {
    const std::vector<std::string>& labels = rows_.state().labels;
    if (labels.empty()) return {};
    std::vector<bool> seen(labels.size());
    for (const int32_t label : data_.train.labels()) seen[static_cast<size_t>(label)] = true;
    for (size_t i = 0; i < labels.size(); ++i) {
      if (seen[i]) data_.labels.push_back(labels[i]);
    }
    std::sort(data_.labels.begin(), data_.labels.end());
    std::vector<int32_t> number(labels.size(), -1);
    for (size_t i = 0; i < labels.size(); ++i) {
      if (!seen[i]) continue;
      const auto place = std::lower_bound(data_.labels.begin(), data_.labels.end(), labels[i]);
      number[i] = static_cast<int32_t>(place - data_.labels.begin());
    }
    GRAFT_CHECK_OK(check_unseen(data_.validation, number, "validation"));
    GRAFT_CHECK_OK(check_unseen(data_.test, number, "test"));
    for (ExampleSet* set : {&data_.train, &data_.validation, &data_.test}) {
      for (int32_t& label : set->labels()) label = number[static_cast<size_t>(label)];
    }
    return {};
  }

  Status check_unseen(const ExampleSet& examples, const std::vector<int32_t>& number, const char* what) {
    std::vector<std::string> unseen;
    size_t first = 0;
    for (size_t i = 0; i < examples.size() && unseen.size() < kMostUnseen; ++i) {
      const auto label = static_cast<size_t>(examples.labels()[i]);
      if (number[label] >= 0) continue;
      const std::string name = "'" + printable(rows_.state().labels[label], 40) + "'";
      if (std::find(unseen.begin(), unseen.end(), name) != unseen.end()) continue;
      if (unseen.empty()) first = i;
      unseen.push_back(name);
    }
    if (unseen.empty()) return {};
    // The set reads from file_, which is filled last.
    GRAFT_TRY(const StoredExample entry, rows_.file().entry(examples.place(first)));
    return invalid(
        fmt::format("row {}: a {} row has a label that no training row has ({}); add training rows with it, split by "
                    "preprocessing.split.type: stratify, or correct the label",
                    entry.row, what, join(unseen, ", ")));
  }

  // What runs that began with earlier releases have in their checkpoints: it must not change.
  Result<std::string> digest_of_train() {
    Sha256 digest;
    const auto add = [&](const void* data, size_t size) {
      digest.update(std::string_view(static_cast<const char*>(data), size));
    };
    size_t record = 0;
    size_t taken = 0;
    GRAFT_CHECK_OK(rows_.file().each([&](const StoredExample& entry, Example example) {
      record += entry.begins_row;
      if (data_.splits[record - 1] != Split::kTrain) return;
      const uint64_t length = example.tokens.size();
      add(&length, sizeof length);
      add(example.tokens.data(), length * sizeof(int32_t));
      add(example.supervised.data(), length);
      if (!data_.train.labels().empty()) add(&data_.train.labels()[taken], sizeof(int32_t));
      ++taken;
    }));
    return digest.hex();
  }

  void choose_prompts(size_t count) {
    const Split split = data_.validation.empty() ? Split::kTrain : Split::kValidation;
    for (const StoredPrompt& stored : rows_.state().prompts) {
      if (data_.prompts.size() >= count) return;
      if (data_.splits[static_cast<size_t>(stored.record)] == split) data_.prompts.push_back(stored.prompt);
    }
  }

  const TrainingConfig& config_;
  EncodedRows rows_;
  const std::string& name_;
  PreparedData data_;
  std::shared_ptr<ExampleFile> file_ = std::make_shared<ExampleFile>();
};

}  // namespace

Result<PreparedData> arrange(const TrainingConfig& config, EncodedRows rows, const std::string& name,
                             size_t prompt_count) {
  return Arrangement(config, std::move(rows), name).run(prompt_count);
}

Status PreparedData::each_record(const std::function<void(const RowRecord&)>& take) const {
  size_t record = 0;
  return file->each_entry([&](const StoredExample& entry) {
    if (entry.begins_row == 0) return;
    take({entry.row, entry.row_tokens, entry.exact, entry.near, splits[record++], entry.shortened != 0});
  });
}

}  // namespace graft::recipe
