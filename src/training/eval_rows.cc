#include "training/eval_rows.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "formats/dataset.h"
#include "recipe/prepare.h"
#include "recipe/row_reader.h"
#include "training/train_data.h"

namespace graft::training {
namespace {

class EvalReader {
 public:
  EvalReader(const recipe::TrainingConfig& config, const recipe::RowEncoder& encoder, const EvalDataOptions& options,
             int64_t context)
      : config_(config), encoder_(encoder), options_(options), context_(context) {}

  Status add(const recipe::RowText& text) {
    EvalRow row;
    GRAFT_TRY(row.prompt, encoder_.prompt(text));
    const int64_t room = context_ - options_.max_new_tokens;
    GRAFT_TRY(const bool kept, shorten_prompt(row.prompt, std::min(recipe::longest_row(config_, context_), room)));
    if (!kept) return {};
    if (options_.whole) {
      GRAFT_TRY(row.whole, encoder_.encode(text));
      // One position less than the context: the engine scores a text by asking for one token more.
      recipe::truncate(row.whole, std::min(recipe::longest_row(config_, context_), context_ - 1), encoder_.tokenizer());
    }
    note_length(row);
    data_.rows.push_back(std::move(row));
    return {};
  }

  EvalData take() { return std::move(data_); }

 private:
  // By the rule for training rows: the beginning goes first. False: the row is left out.
  Result<bool> shorten_prompt(recipe::PromptExample& prompt, int64_t limit) {
    const auto length = static_cast<int64_t>(prompt.tokens.size());
    if (length <= limit) return true;
    const std::string& policy = config_.preprocessing.overlong_rows;
    if (policy == "refuse") {
      return invalid(
          fmt::format("row {}: the prompt has {} tokens, {} are allowed beside {} new ones; shorten it, or set "
                      "preprocessing.overlong_rows to truncate or drop",
                      prompt.row, length, limit, options_.max_new_tokens));
    }
    if (policy == "drop") {
      ++data_.dropped;
      return false;
    }
    recipe::Example example;
    example.tokens = prompt.tokens;
    example.supervised.assign(prompt.tokens.size(), 0);
    example.supervised.back() = 1;  // the end of the prompt is what must stay
    recipe::truncate(example, limit, encoder_.tokenizer());
    prompt.tokens = std::move(example.tokens);
    ++data_.truncated;
    return true;
  }

  void note_length(const EvalRow& row) {
    data_.longest = std::max(
        {data_.longest, static_cast<int64_t>(row.prompt.tokens.size()), static_cast<int64_t>(row.whole.tokens.size())});
  }

  const recipe::TrainingConfig& config_;
  const recipe::RowEncoder& encoder_;
  const EvalDataOptions& options_;
  int64_t context_;
  EvalData data_;
};

}  // namespace

Result<EvalData> read_eval_rows(const recipe::TrainingConfig& config, const BaseModelInfo& base,
                                const std::string& dataset, const EvalDataOptions& options) {
  if (options.max_new_tokens >= base.spec.max_position) {
    return invalid(
        fmt::format("{} new tokens leave no room for a prompt: the model's context is {}; lower "
                    "--max-new-tokens",
                    options.max_new_tokens, base.spec.max_position));
  }
  GRAFT_TRY(const recipe::RowEncoder encoder, row_encoder(config, base));
  GRAFT_TRY(recipe::RowReader rows, recipe::RowReader::create(config));
  GRAFT_TRY(const auto reader, formats::DatasetReader::open(dataset));
  EvalReader eval(config, encoder, options, base.spec.max_position);
  for (int64_t count = 0; options.limit == 0 || count < options.limit; ++count) {
    GRAFT_TRY(const std::optional<formats::DatasetRow> row, reader->next());
    if (!row) break;
    auto text = rows.read(*row);
    if (!text.ok()) return at(dataset, text.error());
    if (Status added = eval.add(*text); !added.ok()) return at(dataset, added.error());
  }
  EvalData data = eval.take();
  if (data.rows.empty()) {
    return invalid(fmt::format("{}: has no row to score{}", dataset,
                               data.dropped > 0 ? fmt::format(" ({} are too long)", data.dropped) : std::string()));
  }
  return data;
}

}  // namespace graft::training
