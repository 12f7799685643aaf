#include "training/eval_rows.h"

#include <fmt/format.h>

#include <algorithm>

#include "recipe/prepare.h"
#include "training/train_data.h"

namespace graft::training {
namespace {

// By the rule for training rows: the beginning goes first.
Result<PromptFit> shorten(recipe::PromptExample& prompt, int64_t limit, const recipe::TrainingConfig& config,
                          const recipe::RowEncoder& encoder, int64_t max_new_tokens) {
  const auto length = static_cast<int64_t>(prompt.tokens.size());
  if (length <= limit) return PromptFit::kWhole;
  const std::string& policy = config.preprocessing.overlong_rows;
  if (policy == "refuse") {
    return invalid(
        fmt::format("row {}: the prompt has {} tokens, {} are allowed beside {} new ones; shorten it, or set "
                    "preprocessing.overlong_rows to truncate or drop",
                    prompt.row, length, limit, max_new_tokens));
  }
  if (policy == "drop") return PromptFit::kDropped;
  recipe::Example example;
  example.tokens = prompt.tokens;
  example.supervised.assign(prompt.tokens.size(), 0);
  example.supervised.back() = 1;  // the end of the prompt is what must stay
  recipe::truncate(example, limit, encoder.tokenizer());
  prompt.tokens = std::move(example.tokens);
  return PromptFit::kTruncated;
}

// A row that has no answer gets one, so that it can be read like any other. Returns whether it had one.
bool complete(formats::DatasetRow& row, const recipe::TrainingConfig& config) {
  const auto put = [&row](const std::string& column) {
    if (const auto cell = row.columns.find(column); cell != row.columns.end() && !cell->is_null()) return true;
    row.columns[column] = "?";
    return false;
  };
  if (!config.output_features.empty()) return put(config.output_features[0].name);
  if (row.columns.contains("prompt") && !row.columns.contains("messages")) return put("completion");
  const auto messages = row.columns.find("messages");
  if (messages == row.columns.end() || !messages->is_array() || messages->empty()) return true;
  const auto& last = messages->back();
  if (last.is_object() && last.contains("role") && last["role"] == "assistant") return true;
  messages->push_back({{"role", "assistant"}, {"content", "?"}});
  return false;
}

}  // namespace

EvalRows::EvalRows(const recipe::TrainingConfig& config, const BaseModelInfo& base, std::string dataset,
                   EvalDataOptions options, recipe::RowEncoder encoder, recipe::RowReader rows,
                   std::unique_ptr<formats::DatasetReader> reader)
    : config_(config),
      context_(base.spec.max_position),
      dataset_(std::move(dataset)),
      options_(options),
      encoder_(std::move(encoder)),
      rows_(std::move(rows)),
      reader_(std::move(reader)) {}

Result<EvalRows> EvalRows::open(const recipe::TrainingConfig& config, const BaseModelInfo& base,
                                const std::string& dataset, const EvalDataOptions& options) {
  if (options.max_new_tokens >= base.spec.max_position) {
    return invalid(
        fmt::format("{} new tokens leave no room for a prompt: the model's context is {}; lower "
                    "--max-new-tokens",
                    options.max_new_tokens, base.spec.max_position));
  }
  GRAFT_TRY(recipe::RowEncoder encoder, row_encoder(config, base));
  GRAFT_TRY(recipe::RowReader rows, recipe::RowReader::create(config));
  GRAFT_TRY(auto reader, formats::DatasetReader::open(dataset));
  return EvalRows(config, base, dataset, options, std::move(encoder), std::move(rows), std::move(reader));
}

Result<std::optional<EvalRow>> EvalRows::next() {
  if (options_.limit > 0 && count_ >= options_.limit) return std::optional<EvalRow>();
  GRAFT_TRY(std::optional<formats::DatasetRow> row, reader_->next());
  if (!row) return std::optional<EvalRow>();
  ++count_;
  auto made = read(std::move(*row));
  if (!made.ok()) return at(dataset_, made.error());
  return std::optional<EvalRow>(std::move(made).value());
}

Result<EvalRow> EvalRows::read(formats::DatasetRow row) {
  EvalRow made;
  made.answered = !options_.answers_optional || complete(row, config_);
  GRAFT_CHECK_OK(rows_.decide(row));
  GRAFT_TRY(const recipe::RowText text, rows_.read(row));
  GRAFT_TRY(made.prompt, encoder_.prompt(text));
  if (!made.answered) made.prompt.reference.clear();
  const int64_t room = std::min(recipe::longest_row(config_, context_), context_ - options_.max_new_tokens);
  GRAFT_TRY(made.fit, shorten(made.prompt, room, config_, encoder_, options_.max_new_tokens));
  if (options_.whole && made.fit != PromptFit::kDropped) {
    GRAFT_TRY(made.whole, encoder_.encode(text));
    // One position less than the context: the engine scores a text by asking for one token more.
    recipe::truncate(made.whole, std::min(recipe::longest_row(config_, context_), context_ - 1), encoder_.tokenizer());
  }
  return made;
}

Result<EvalData> read_eval_rows(const recipe::TrainingConfig& config, const BaseModelInfo& base,
                                const std::string& dataset, const EvalDataOptions& options) {
  GRAFT_TRY(EvalRows rows, EvalRows::open(config, base, dataset, options));
  EvalData data;
  while (true) {
    GRAFT_TRY(std::optional<EvalRow> row, rows.next());
    if (!row) break;
    data.truncated += row->fit == PromptFit::kTruncated ? 1 : 0;
    data.dropped += row->fit == PromptFit::kDropped ? 1 : 0;
    if (row->fit == PromptFit::kDropped) continue;
    data.longest = std::max({data.longest, static_cast<int64_t>(row->prompt.tokens.size()),
                             static_cast<int64_t>(row->whole.tokens.size())});
    data.rows.push_back(std::move(*row));
  }
  if (data.rows.empty()) {
    return invalid(fmt::format("{}: has no row to score{}", dataset,
                               data.dropped > 0 ? fmt::format(" ({} are too long)", data.dropped) : std::string()));
  }
  return data;
}

}  // namespace graft::training
