#include "recipe/prepare.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <span>

#include "base/digest.h"
#include "base/philox.h"
#include "base/strings.h"
#include "recipe/random_streams.h"
#include "recipe/row_reader.h"

namespace graft::recipe {
namespace {

double draw(uint64_t seed, RandomUse use, int64_t row) {
  return PhiloxStream(seed, random_stream(use, static_cast<uint64_t>(row))).next_double();
}

Result<Split> fixed_split(const formats::DatasetRow& row, const std::string& column) {
  GRAFT_TRY(const std::string value, column_text(row, column));
  if (value == "0") return Split::kTrain;
  if (value == "1") return Split::kValidation;
  if (value == "2") return Split::kTest;
  return invalid(fmt::format("row {}: column '{}' is '{}': expected 0 (train), 1 (validation) or 2 (test)", row.number,
                             printable(column, 60), printable(value, 40)));
}

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
  }
  return digest.hex();
}

class Preparation {
 public:
  Preparation(const TrainingConfig& config, const RowEncoder& encoder, const PrepareOptions& options)
      : config_(config),
        encoder_(encoder),
        options_(options),
        limit_(longest_row(config, options.max_length)),
        seed_(static_cast<uint64_t>(config.random_seed)) {}

  Status add(RowReader& rows, const formats::DatasetRow& row) {
    ++data_.rows;
    const double ratio = config_.preprocessing.sample_ratio;
    if (ratio < 1.0 && draw(seed_, RandomUse::kSample, row.number) >= ratio) {
      ++data_.sampled_out;
      return {};
    }
    GRAFT_TRY(const RowText text, rows.read(row));
    GRAFT_TRY(const Split split, split_of(row));
    GRAFT_TRY(Example example, encoder_.encode(text));
    GRAFT_TRY(const bool fits, shorten(example));
    if (!fits) return {};
    GRAFT_CHECK_OK(keep_prompt(text, split));
    data_.longest = std::max(data_.longest, static_cast<int64_t>(example.tokens.size()));
    examples_of(split).push_back(std::move(example));
    return {};
  }

  Result<PreparedData> finish(const std::string& name) {
    if (data_.rows == 0) return invalid(name + ": has no rows");
    if (data_.train.empty()) {
      return invalid(
          fmt::format("{}: none of its {} rows is left to train on ({} left out by sample_ratio, {} too long, "
                      "{} for validation, {} for test); see preprocessing",
                      name, data_.rows, data_.sampled_out, data_.dropped, data_.validation.size(), data_.test.size()));
    }
    data_.digest = digest_of(data_.train);
    if (data_.validation.empty()) data_.prompts = std::move(train_prompts_);
    return std::move(data_);
  }

 private:
  std::vector<Example>& examples_of(Split split) {
    if (split == Split::kTrain) return data_.train;
    return split == Split::kValidation ? data_.validation : data_.test;
  }

  Result<Split> split_of(const formats::DatasetRow& row) const {
    const SplitConfig& split = config_.preprocessing.split;
    if (split.type == "fixed") return fixed_split(row, split.column);
    return random_split(seed_, row.number, split.probabilities);
  }

  // False: the row is left out.
  Result<bool> shorten(Example& example) {
    const auto length = static_cast<int64_t>(example.tokens.size());
    const std::string& policy = config_.preprocessing.overlong_rows;
    if (length > limit_ && policy == "refuse") {
      return invalid(
          fmt::format("row {}: {} tokens, {} are allowed; shorten it, or set preprocessing.overlong_rows to "
                      "truncate or drop",
                      example.row, length, limit_));
    }
    if (length > limit_ && policy == "drop") {
      ++data_.dropped;
      return false;
    }
    if (truncate(example, limit_, encoder_.tokenizer())) ++data_.truncated;
    if (supervised_tokens(example) == 0) {
      return invalid(fmt::format("row {}: no token carries loss after shortening to {} tokens", example.row, limit_));
    }
    return true;
  }

  Status keep_prompt(const RowText& text, Split split) {
    std::vector<PromptExample>& prompts = split == Split::kValidation ? data_.prompts : train_prompts_;
    if (split == Split::kTest || prompts.size() >= options_.prompt_count) return {};
    auto prompt = encoder_.prompt(text);
    // An answer that is not plain text has no sample to compare with, and a prompt that was cut asks something else.
    if (!prompt.ok() || static_cast<int64_t>(prompt->tokens.size()) >= limit_) return {};
    prompts.push_back(std::move(prompt).value());
    return {};
  }

  const TrainingConfig& config_;
  const RowEncoder& encoder_;
  PrepareOptions options_;
  int64_t limit_;
  uint64_t seed_;
  PreparedData data_;
  std::vector<PromptExample> train_prompts_;
};

}  // namespace

int64_t longest_row(const TrainingConfig& config, int64_t context) {
  return std::min(context, config.preprocessing.global_max_sequence_length.value_or(context));
}

Split random_split(uint64_t seed, int64_t row, const std::vector<double>& probabilities) {
  const double at = draw(seed, RandomUse::kSplit, row);
  // A share of 0 gets nothing, however the sum of the others was rounded.
  if (at < probabilities[0] || (probabilities[1] == 0 && probabilities[2] == 0)) return Split::kTrain;
  if (at < probabilities[0] + probabilities[1] || probabilities[2] == 0) return Split::kValidation;
  return Split::kTest;
}

Result<PreparedData> prepare(const TrainingConfig& config, const RowEncoder& encoder, formats::DatasetReader& reader,
                             const std::string& name, const PrepareOptions& options) {
  GRAFT_TRY(RowReader rows, RowReader::create(config));
  Preparation preparation(config, encoder, options);
  while (true) {
    GRAFT_TRY(const std::optional<formats::DatasetRow> row, reader.next());
    if (!row) return preparation.finish(name);
    if (Status added = preparation.add(rows, *row); !added.ok()) return at(name, added.error());
  }
}

}  // namespace graft::recipe
