#include "training/trainer.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <utility>

#include "base/files.h"
#include "base/philox.h"

namespace graft::training {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kRowsInMessages = 8;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

int64_t count_labelled(const PackedBatch& batch) {
  int64_t count = 0;
  for (const int32_t label : batch.labels) count += label == kIgnoreLabel ? 0 : 1;
  return count;
}

std::string some_of(const std::vector<std::string>& rows) {
  const size_t shown = std::min(rows.size(), kRowsInMessages);
  std::string text = fmt::format("{}", fmt::join(rows.begin(), rows.begin() + static_cast<ptrdiff_t>(shown), ", "));
  if (rows.size() > shown) text += fmt::format(" and {} more", rows.size() - shown);
  return text;
}

std::vector<std::string> rows_of(const StepBatch& batch) {
  std::vector<std::string> rows;
  for (const MicroBatch& micro : batch.micro_batches) rows.insert(rows.end(), micro.rows.begin(), micro.rows.end());
  return rows;
}

nlohmann::ordered_json state_event(const char* name, int64_t step) {
  return {{"event", "state"}, {"state", name}, {"step", step}};
}

}  // namespace

uint64_t dropout_stream(uint64_t seed, int64_t step, int64_t micro_batch) {
  const PhiloxBlock block = philox_block(seed, static_cast<uint64_t>(step), static_cast<uint64_t>(micro_batch));
  return uint64_t{block[0]} << 32 | block[1];
}

Result<std::optional<LossSum>> evaluate_batches(Session& session, const MicroBatches& batches,
                                                const std::atomic<bool>& stop) {
  LossSum total;
  for (size_t i = 0; i < batches.size(); ++i) {
    if (stop) return std::optional<LossSum>();
    GRAFT_TRY(const MicroBatch micro, batches.get(i));
    GRAFT_TRY(const LossSum part, session.evaluate(micro.batch));
    if (!std::isfinite(part.loss)) {
      return invalid(fmt::format("the validation loss is {} for {}; lower trainer.learning_rate or look at those rows",
                                 part.loss, some_of(micro.rows)));
    }
    total.loss += part.loss;
    total.tokens += part.tokens;
  }
  return std::optional<LossSum>(total);
}

Trainer::Trainer(Session& session, BatchSource& data, MicroBatches validation, TrainerSettings settings,
                 RunEnvironment environment, JobDirectory& directory, TrainObserver& observer,
                 const std::atomic<bool>& stop)
    : session_(session),
      data_(data),
      validation_(std::move(validation)),
      settings_(std::move(settings)),
      directory_(directory),
      observer_(observer),
      stop_(stop) {
  state_.environment = std::move(environment);
  state_.cursor = data_.cursor();
}

Status Trainer::resume() {
  std::vector<std::string> warnings;
  GRAFT_TRY(const std::optional<Checkpoint> checkpoint, directory_.latest_checkpoint(warnings));
  for (const std::string& warning : warnings) observer_.on_note(warning);
  resumed_ = true;
  if (!checkpoint) {
    observer_.on_note(directory_.path().string() + ": no checkpoint yet, starting from step 0");
    return {};
  }
  const std::string place = checkpoint->directory.string();
  auto restored = train_state_from_json(checkpoint->trainer);
  if (!restored.ok()) return at(place, restored.error());
  if (auto loaded = session_.load_state((checkpoint->directory / "session").string()); !loaded.ok()) {
    return at(place, loaded.error());
  }
  if (auto sought = data_.seek(restored->cursor); !sought.ok()) return at(place, sought.error());
  const RunEnvironment now = std::exchange(state_.environment, {});
  state_ = std::move(restored).value();
  for (const std::string& line : differences(state_.environment, now)) {
    observer_.on_note("warning: " + line + "; results may differ in the last bits from an undisturbed run");
  }
  state_.environment = now;
  checkpointed_step_ = state_.step;
  observer_.on_note(fmt::format("resuming from {} (step {} of {})", place, state_.step, settings_.total_steps));
  return {};
}

Result<TrainOutcome> Trainer::run() {
  GRAFT_CHECK_OK(directory_.append_event(state_event(resumed_ ? "resumed" : "running", state_.step)));
  auto outcome = loop();
  if (!outcome.ok()) {
    auto event = state_event("failed", state_.step);
    event["message"] = outcome.error().message;
    static_cast<void>(directory_.append_event(event));  // the disk may be what failed
  }
  return outcome;
}

Result<TrainOutcome> Trainer::loop() {
  while (true) {
    if (evaluation_due()) {
      GRAFT_TRY(const Interruptible evaluated, evaluate());
      if (evaluated == Interruptible::kInterrupted) return interrupted();
    }
    if (checkpoint_due()) GRAFT_CHECK_OK(write_checkpoint());
    if (ended()) return state_.stopped_early ? TrainOutcome::kStoppedEarly : TrainOutcome::kFinished;
    if (stop_) return interrupted();
    GRAFT_TRY(const Interruptible stepped, train_step());
    if (stepped == Interruptible::kInterrupted) return interrupted();
  }
}

bool Trainer::evaluation_due() const {
  if (validation_.empty() || state_.evaluated_step == state_.step) return false;
  const bool at_interval = settings_.evaluate_every > 0 && state_.step % settings_.evaluate_every == 0;
  return state_.step == 0 || state_.step >= settings_.total_steps || at_interval;
}

bool Trainer::checkpoint_due() const {
  if (checkpointed_step_ == state_.step) return false;
  const bool at_interval =
      settings_.checkpoint_every > 0 && state_.step > 0 && state_.step % settings_.checkpoint_every == 0;
  const bool is_best = state_.best && state_.best->step == state_.step;
  return at_interval || is_best || ended();
}

bool Trainer::ended() const { return state_.stopped_early || state_.step >= settings_.total_steps; }

Result<TrainOutcome> Trainer::interrupted() {
  if (checkpointed_step_ != state_.step) GRAFT_CHECK_OK(write_checkpoint());
  GRAFT_CHECK_OK(directory_.append_event(state_event("stopped", state_.step)));
  return TrainOutcome::kInterrupted;
}

Result<Trainer::Interruptible> Trainer::evaluate() {
  const auto start = Clock::now();
  auto sum = evaluate_batches(session_, validation_, stop_);
  if (!sum.ok()) return at(fmt::format("step {}", state_.step), sum.error());
  if (!sum->has_value()) return Interruptible::kInterrupted;
  const int64_t tokens = (*sum)->tokens;
  if (tokens == 0) {
    return invalid(
        "no token of the validation rows carries loss; check their completions, or set a validation split of 0");
  }
  GRAFT_TRY(const std::optional<MetricValues> metrics, generated_scores());
  if (!metrics) return Interruptible::kInterrupted;
  state_.seconds += seconds_since(start);
  GRAFT_CHECK_OK(record_evaluation((*sum)->loss / static_cast<double>(tokens), tokens, *metrics));
  return Interruptible::kDone;
}

Result<std::optional<MetricValues>> Trainer::generated_scores() {
  if (!settings_.generate) return std::optional<MetricValues>(MetricValues{});
  auto metrics = settings_.generate(session_, stop_);
  if (!metrics.ok()) return at(fmt::format("step {}: evaluation by generation", state_.step), metrics.error());
  return metrics;
}

// Whether it is the best so far. Before the first step there is no adapter worth keeping.
bool Trainer::take_evaluation(const BestEvaluation& evaluation) {
  if (evaluation.step == 0) return false;
  const bool better = !state_.best || (evaluation.score ? *evaluation.score > state_.best->score.value_or(-HUGE_VAL)
                                                        : evaluation.loss < state_.best->loss);
  state_.evaluations_without_improvement = better ? 0 : state_.evaluations_without_improvement + 1;
  if (better) state_.best = evaluation;
  state_.stopped_early = settings_.early_stop > 0 && state_.step < settings_.total_steps &&
                         state_.evaluations_without_improvement >= settings_.early_stop;
  return better;
}

Status Trainer::record_evaluation(double loss, int64_t tokens, const MetricValues& metrics) {
  state_.evaluated_step = state_.step;
  state_.validation_loss = loss;
  checkpointed_step_.reset();  // a checkpoint of this step from before the evaluation does not know it
  BestEvaluation evaluation{state_.step, loss, std::nullopt};
  for (const auto& [name, value] : metrics) {
    if (name == settings_.best_by) evaluation.score = value;
  }
  const bool best = take_evaluation(evaluation);
  nlohmann::ordered_json event = {{"event", "evaluation"},
                                  {"step", state_.step},
                                  {"validation_loss", loss},
                                  {"validation_tokens", tokens},
                                  {"best", best}};
  for (const auto& [name, value] : metrics) event["metrics"][name] = value;
  GRAFT_CHECK_OK(directory_.append_event(std::move(event)));
  if (!metrics.empty()) observer_.on_metrics(state_.step, metrics);
  observer_.on_evaluation(state_.step, loss, best);
  return {};
}

Result<LossSum> Trainer::accumulate(const StepBatch& batch, int64_t labelled) {
  LossSum total;
  for (size_t i = 0; i < batch.micro_batches.size(); ++i) {
    const MicroBatch& micro = batch.micro_batches[i];
    const uint64_t stream = dropout_stream(settings_.seed, state_.step, static_cast<int64_t>(i));
    auto part = session_.forward_backward(micro.batch, 1.0 / static_cast<double>(labelled), stream);
    if (!part.ok()) return at(fmt::format("step {}", state_.step + 1), part.error());
    if (!std::isfinite(part->loss)) return not_finite("loss", part->loss, micro.rows);
    total.loss += part->loss;
    total.tokens += part->tokens;
    if (stop_) break;
  }
  return total;
}

Result<Trainer::Interruptible> Trainer::train_step() {
  const auto start = Clock::now();
  auto next = data_.next();
  if (!next.ok()) return at(fmt::format("step {}", state_.step + 1), next.error());
  const StepBatch& batch = *next;
  int64_t labelled = 0;
  int64_t tokens = 0;
  for (const MicroBatch& micro : batch.micro_batches) {
    labelled += count_labelled(micro.batch);
    tokens += static_cast<int64_t>(micro.batch.tokens.size());
  }
  if (labelled == 0) {
    return invalid(fmt::format("step {}: no token of {} carries loss; check the completions of those rows",
                               state_.step + 1, some_of(rows_of(batch))));
  }
  const StepParams params{settings_.learning_rate(state_.step), settings_.max_grad_norm, settings_.max_parameter_norm};
  if (auto begun = session_.begin_step(params); !begun.ok()) return begun.error();
  GRAFT_TRY(const LossSum loss, accumulate(batch, labelled));
  if (loss.tokens != labelled) {
    // A stop between micro batches: the step is given up, and begun anew on resume.
    if (stop_) return Interruptible::kInterrupted;
    return internal_error(fmt::format("step {}: the session counted {} labelled tokens, the data has {}",
                                      state_.step + 1, loss.tokens, labelled));
  }
  auto norm = session_.optim_step(params);
  if (!norm.ok()) return at(fmt::format("step {}", state_.step + 1), norm.error());
  if (!std::isfinite(*norm)) return not_finite("gradient's norm", *norm, rows_of(batch));

  const double seconds = seconds_since(start);
  state_.step += 1;
  state_.epoch = batch.epoch;
  state_.tokens += tokens;
  state_.labelled_tokens += labelled;
  state_.seconds += seconds;
  state_.cursor = data_.cursor();
  GRAFT_CHECK_OK(record_step({state_.step, batch.epoch, loss.loss / static_cast<double>(labelled), params.learning_rate,
                              *norm, tokens, labelled, seconds}));
  return Interruptible::kDone;
}

Status Trainer::record_step(const StepReport& report) {
  GRAFT_CHECK_OK(directory_.append_event({{"event", "step"},
                                          {"step", report.step},
                                          {"epoch", report.epoch},
                                          {"loss", report.loss},
                                          {"learning_rate", report.learning_rate},
                                          {"grad_norm", report.grad_norm},
                                          {"tokens", report.tokens},
                                          {"labelled_tokens", report.labelled_tokens},
                                          {"seconds", report.seconds},
                                          {"total_tokens", state_.tokens},
                                          {"total_seconds", state_.seconds}}));
  observer_.on_step(report);
  return {};
}

Error Trainer::not_finite(const char* what, double value, const std::vector<std::string>& rows) const {
  const std::string kept =
      checkpointed_step_ ? fmt::format("; checkpoint {} is from before it", *checkpointed_step_) : std::string();
  return invalid(fmt::format("step {}: the {} is {}, caused by {}; lower trainer.learning_rate or look at those rows{}",
                             state_.step + 1, what, value, some_of(rows), kept));
}

Status Trainer::save_into(const std::filesystem::path& directory) {
  GRAFT_CHECK_OK(make_directories(directory / "session"));
  GRAFT_CHECK_OK(session_.save_state((directory / "session").string()));
  if (session_.is_full()) return {};  // its state holds the weights: a model beside them would be a second copy
  GRAFT_CHECK_OK(make_directories(directory / "adapter"));
  return session_.save_adapter((directory / "adapter").string());
}

Status Trainer::write_checkpoint() {
  const auto start = Clock::now();
  const auto fill = [this](const std::filesystem::path& directory) { return save_into(directory); };
  GRAFT_CHECK_OK(directory_.write_checkpoint(state_.step, to_json(state_), fill));
  checkpointed_step_ = state_.step;
  state_.seconds += seconds_since(start);
  GRAFT_CHECK_OK(directory_.append_event(
      {{"event", "checkpoint"}, {"step", state_.step}, {"checkpoint", fmt::format("checkpoints/{}", state_.step)}}));
  const auto best = state_.best ? std::optional<int64_t>(state_.best->step) : std::nullopt;
  return directory_.prune_checkpoints(settings_.keep_checkpoints, best);
}

Result<int64_t> Trainer::restore_best() {
  if (!state_.best || state_.best->step == state_.step) return state_.step;
  GRAFT_TRY(const Checkpoint best, directory_.checkpoint(state_.best->step));
  if (auto loaded = session_.load_state((best.directory / "session").string()); !loaded.ok()) {
    return at(best.directory.string(), loaded.error());
  }
  return best.step;
}

}  // namespace graft::training
