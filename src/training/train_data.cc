#include "training/train_data.h"

#include <fmt/format.h>

#include <chrono>
#include <numeric>
#include <utility>

#include "recipe/adapter_settings.h"
#include "recipe/optimizer_config.h"
#include "recipe/packing.h"
#include "recipe/prepare_file.h"
#include "recipe/row_encoder.h"
#include "recipe/schedule.h"
#include "training/classifier_run.h"
#include "training/generated_evaluation.h"
#include "training/optimization.h"
#include "training/pretrained.h"
#include "training/verb.h"

namespace graft::training {
namespace {

constexpr size_t kPrompts = 8;
constexpr size_t kTexts = 8;
constexpr int32_t kMinSampleTokens = 1024;
constexpr int64_t kManySampleTokens = 8192;
constexpr int64_t kEvaluationTokens = 4096;  // of an evaluation's forward pass, where steps are larger

Result<MicroBatch> micro_batch(const recipe::ExampleSet& examples, const recipe::MicroBatchIndices& indices) {
  MicroBatch micro;
  std::vector<recipe::Example> chosen;
  for (const int32_t index : indices) {
    GRAFT_TRY(recipe::Example example, examples.read(static_cast<size_t>(index)));
    micro.rows.push_back(fmt::format("row {}", example.row));
    chosen.push_back(std::move(example));
  }
  std::vector<int32_t> all(chosen.size());
  std::iota(all.begin(), all.end(), 0);
  micro.batch = recipe::pack(chosen, all);
  return micro;
}

// The recipe's order over the train rows.
class RecipeSource final : public BatchSource {
 public:
  RecipeSource(recipe::ExampleSet examples, const recipe::PackingSettings& settings, std::string digest)
      : examples_(std::move(examples)), order_(examples_.lengths(), settings, std::move(digest)) {}

  Result<StepBatch> next() override {
    const recipe::StepPlan plan = order_.next();
    StepBatch step;
    step.epoch = plan.epoch;
    for (const recipe::MicroBatchIndices& indices : plan.micro_batches) {
      GRAFT_TRY(MicroBatch micro, micro_batch(examples_, indices));
      step.micro_batches.push_back(std::move(micro));
    }
    return step;
  }
  [[nodiscard]] nlohmann::json cursor() const override { return order_.cursor(); }
  Status seek(const nlohmann::json& cursor) override { return order_.seek(cursor); }
  [[nodiscard]] const recipe::TrainingOrder& order() const { return order_; }

 private:
  recipe::ExampleSet examples_;
  recipe::TrainingOrder order_;
};

// All of a split, planned now and read from disk at each evaluation.
MicroBatches pack_all(recipe::ExampleSet examples, int64_t max_tokens) {
  std::vector<int32_t> all(examples.size());
  std::iota(all.begin(), all.end(), 0);
  struct Planned {
    recipe::ExampleSet examples;
    std::vector<recipe::MicroBatchIndices> batches;
  };
  auto planned = std::make_shared<Planned>();
  planned->batches = recipe::micro_batches(examples.lengths(), all, max_tokens);
  planned->examples = std::move(examples);
  const size_t size = planned->batches.size();
  return {size, [planned](size_t index) { return micro_batch(planned->examples, planned->batches[index]); }};
}

NamedValues counts_of(const std::string& dataset, const recipe::PreparedData& prepared) {
  NamedValues counts = {{"file", dataset},
                        {"rows", format_count(prepared.rows)},
                        {"for training", format_count(static_cast<int64_t>(prepared.train.size()))},
                        {"for validation", format_count(static_cast<int64_t>(prepared.validation.size()))}};
  if (!prepared.test.empty()) {
    counts.emplace_back("kept back for tests", format_count(static_cast<int64_t>(prepared.test.size())));
  }
  if (prepared.sampled_out > 0) counts.emplace_back("left out by sample_ratio", format_count(prepared.sampled_out));
  counts.emplace_back("rows are", std::string(recipe::name_of(prepared.shape)));
  if (prepared.invalid > 0) counts.emplace_back("left out as invalid", format_count(prepared.invalid));
  if (prepared.cut > 0) counts.emplace_back("cut into pieces", format_count(prepared.cut));
  counts.emplace_back("truncated", format_count(prepared.truncated));
  if (prepared.dropped > 0) counts.emplace_back("left out as too long", format_count(prepared.dropped));
  counts.emplace_back("longest row", format_count(prepared.longest) + " tokens");
  if (!prepared.labels.empty()) {
    counts.emplace_back("classes", label_counts(prepared));
    counts.emplace_back("tokens in an epoch", format_count(prepared.train.tokens()));
    return counts;
  }
  counts.emplace_back("tokens in an epoch", fmt::format("{}, {} with loss", format_count(prepared.train.tokens()),
                                                        format_count(prepared.train.learned())));
  return counts;
}

std::vector<std::string> warnings_of(const recipe::PreparedData& prepared, int64_t limit) {
  std::vector<std::string> warnings;
  if (prepared.truncated > 0) {
    warnings.push_back(fmt::format("{} of {} rows were longer than {} tokens and were truncated", prepared.truncated,
                                   prepared.rows, limit));
  }
  if (prepared.dropped > 0) {
    warnings.push_back(fmt::format("{} of {} rows were longer than {} tokens and were left out", prepared.dropped,
                                   prepared.rows, limit));
  }
  for (const auto& [reason, rows] : prepared.invalid_reasons) {
    warnings.push_back(fmt::format("{} of {} rows were left out: {}", rows, prepared.rows, reason));
  }
  return warnings;
}

Result<std::string> preview_of(const recipe::PreparedData& prepared, const text::Tokenizer& tokenizer) {
  GRAFT_TRY(const recipe::Example first, prepared.train.read(0));
  const std::string text = recipe::preview(first, tokenizer);
  if (prepared.labels.empty()) return "One row as the model sees it; what is between [[ and ]] carries loss:\n" + text;
  return fmt::format("One row as the model sees it; its class is {}:\n{}",
                     prepared.labels[static_cast<size_t>(first.label)], text);
}

Status take_samples(const recipe::PreparedData& prepared, TrainData& data) {
  data.samples_are_held_out = !prepared.validation.empty();
  for (const recipe::PromptExample& prompt : prepared.prompts) {
    data.prompts.push_back({prompt.prompt, prompt.reference, prompt.tokens, prompt.row});
  }
  const auto& rows = prepared.validation.empty() ? prepared.train : prepared.validation;
  for (size_t i = 0; i < std::min(kTexts, rows.size()); ++i) {
    GRAFT_TRY(recipe::Example example, rows.read(i));
    data.texts.push_back(std::move(example.tokens));
  }
  return {};
}

// Rows as they are read, and how fast.
class ReadingProgress {
 public:
  explicit ReadingProgress(const DataWatch& watch) : start_(Clock::now()) {
    if (watch.out != nullptr) {
      progress_ = std::make_unique<Progress>(
          *watch.out, Progress::Options{.style = watch.progress, .label = "preparing data", .unit = "row"});
    }
  }

  void on_rows(int64_t rows) {
    if (progress_ == nullptr) return;
    const double seconds = std::chrono::duration<double>(Clock::now() - start_).count();
    progress_->update(rows, seconds > 0 ? fmt::format("{:.0f} rows/s", static_cast<double>(rows) / seconds) : "");
  }
  void on_note(const std::string& line) {
    if (progress_ != nullptr) progress_->note(line);
  }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point start_;
  std::unique_ptr<Progress> progress_;
};

Result<recipe::PreparedFile> prepare_rows(const recipe::TrainingConfig& config, const BaseModelInfo& base,
                                          const recipe::RowEncoder& encoder, size_t prompts, const DataWatch& watch) {
  ReadingProgress progress(watch);
  recipe::PrepareOptions options;
  options.max_length = base.spec.max_position;
  options.prompt_count = prompts;
  options.on_rows = [&](int64_t rows) { progress.on_rows(rows); };
  options.on_note = [&](const std::string& line) { progress.on_note(line); };
  options.stop = watch.stop;
  return recipe::prepare_file(config, encoder, base.text_digest, *config.dataset, std::move(options));
}

size_t prompt_count(const recipe::TrainerConfig& trainer) {
  const auto rows = static_cast<size_t>(trainer.evaluation_rows);
  return evaluation_metrics(trainer).empty() ? kPrompts : std::max(kPrompts, rows);
}

// Room for the longest request, twice, so that the engine can batch; where every evaluation answers many, for more.
int32_t sample_tokens(const TrainData& data, int64_t max_new_tokens) {
  size_t longest = 0;
  for (const SamplePrompt& prompt : data.prompts) longest = std::max(longest, prompt.tokens.size());
  for (const std::vector<int32_t>& text : data.texts) longest = std::max(longest, text.size());
  const int64_t one = static_cast<int64_t>(longest) + max_new_tokens + 1;
  const int64_t all = one * static_cast<int64_t>(data.prompts.size());
  const int64_t many = data.prompts.size() > kPrompts ? std::min(all, kManySampleTokens) : 0;
  return static_cast<int32_t>(std::max({int64_t{kMinSampleTokens}, 2 * one, many}));
}

recipe::MemoryPlan memory_plan(const recipe::TrainingConfig& config, const BaseModelInfo& base,
                               std::vector<formats::AdapterSlot> slots, int64_t cache_tokens, int64_t longest_row) {
  recipe::MemoryInputs inputs;
  inputs.spec = base.spec;
  inputs.slots = std::move(slots);
  inputs.dtype_bytes = base.dtype == "float32" ? 4 : 2;
  inputs.weight_bytes = recipe::weight_bytes(base.dtype);
  inputs.micro_batch_tokens = recipe::largest_micro_batch(config.trainer, longest_row);
  inputs.sample_tokens = cache_tokens;
  inputs.optimizer_bytes = recipe::optimizer_bytes(config.trainer);
  inputs.full = recipe::trains_all_weights(config.adapter);
  return recipe::choose_plan(std::move(inputs), config.trainer.enable_gradient_checkpointing,
                             recipe::available_memory());
}

}  // namespace

Result<recipe::RowEncoder> row_encoder(const recipe::TrainingConfig& config, const BaseModelInfo& base) {
  recipe::ModelText text;
  text.tokenizer = base.tokenizer.get();
  if (base.chat_template != nullptr) text.chat = recipe::chat_renderer(base.chat_template, base.template_variables);
  text.eos_token_ids = base.spec.eos_token_ids;
  return recipe::RowEncoder::create(std::move(text), config.prompt.apply_chat_template);
}

Result<TrainData> prepare_train_data(const recipe::TrainingConfig& config, const BaseModelInfo& base,
                                     const DataWatch& watch) {
  TrainData data;
  data.session.peft = recipe::peft_config(config.adapter, base.name);
  data.session.seed = static_cast<uint64_t>(config.random_seed);
  if (const auto& pretrained = config.adapter.pretrained_adapter_weights) {
    GRAFT_TRY(const PretrainedAdapter found, find_pretrained(*pretrained, base));
    data.session.pretrained = found.directory;
    data.warnings = found.warnings;
  }
  if (const auto iterations = recipe::pissa_iterations(config.adapter.init_lora_weights)) {
    data.session.pissa = PissaSettings{*iterations};
  }
  data.session.neftune_noise_alpha = config.trainer.neftune_noise_alpha;
  data.session.optimization = optimization(config);
  data.session.full = recipe::trains_all_weights(config.adapter);
  std::vector<formats::AdapterSlot> slots;
  if (!data.session.full) {
    GRAFT_TRY(slots, formats::adapter_slots(data.session.peft, base.spec));
  }
  const std::string& dataset = *config.dataset;
  GRAFT_TRY(const recipe::RowEncoder encoder, row_encoder(config, base));
  GRAFT_TRY(recipe::PreparedFile file, prepare_rows(config, base, encoder, prompt_count(config.trainer), watch));
  data.dataset_sha256 = std::move(file.sha256);
  recipe::PreparedData& prepared = file.data;
  if (Status labelled = set_labels(prepared, data.session); !labelled.ok()) return at(dataset, labelled.error());
  if (data.session.full && !data.session.labels.empty()) {
    return unsupported(
        "output_features: a classification head is trained beside an adapter; set adapter.type to lora, or write "
        "type: text, and the label is learned as text");
  }
  data.counts = counts_of(dataset, prepared);
  for (std::string& warning : warnings_of(prepared, recipe::longest_row(config, base.spec.max_position))) {
    data.warnings.push_back(std::move(warning));
  }
  GRAFT_TRY(data.preview, preview_of(prepared, *base.tokenizer));
  GRAFT_CHECK_OK(take_samples(prepared, data));
  if (!data.samples_are_held_out && !evaluation_metrics(config.trainer).empty()) {
    return invalid(
        "trainer.evaluation_metrics and validation_metric need validation rows: give the split a share of them");
  }
  data.sample_tokens = sample_tokens(data, config.generation.max_new_tokens);
  data.memory = memory_plan(config, base, std::move(slots), data.sample_tokens, prepared.longest);
  data.session.checkpointing = data.memory.checkpointing;

  const recipe::PackingSettings packing = recipe::packing_settings(config);
  data.validation = pack_all(std::move(prepared.validation), std::min(packing.micro_batch_tokens, kEvaluationTokens));
  auto source = std::make_unique<RecipeSource>(std::move(prepared.train), packing, prepared.digest);
  const recipe::RunSchedule schedule = recipe::run_schedule(
      config.trainer, config.trainer.train_steps ? 0 : source->order().steps_in(config.trainer.epochs),
      source->order().steps_in(1));
  data.total_steps = schedule.total_steps;
  data.evaluate_every = schedule.evaluate_every;
  data.checkpoint_every = schedule.checkpoint_every;
  data.learning_rate = [rate = schedule.learning_rate](int64_t step) { return rate.at(step); };
  data.train = std::move(source);
  return data;
}

}  // namespace graft::training
