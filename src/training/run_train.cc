#include "training/run_train.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <chrono>
#include <utility>

#include "base/files.h"
#include "training/classifier_run.h"
#include "training/finish_run.h"
#include "training/generated_evaluation.h"
#include "training/job_description.h"
#include "training/job_directory.h"
#include "training/run_records.h"
#include "training/train_data.h"
#include "training/train_progress.h"
#include "training/trainer.h"

namespace graft::training {
namespace {

Result<recipe::TrainingConfig> load_config(const TrainOptions& options) {
  std::vector<std::string> overrides = options.overrides;
  if (options.dtype) overrides.push_back("trainer.dtype=" + *options.dtype);
  GRAFT_TRY(recipe::TrainingConfig config, recipe::load_training_config(options.config, overrides));
  if (options.model) config.base_model = *options.model;
  if (options.dataset) config.dataset = *options.dataset;
  if (!config.dataset) {
    return invalid(options.config + ": names no data; add dataset: FILE to it, or give --dataset FILE");
  }
  return config;
}

// Without --output: a new directory of its own under $GRAFT_HOME/jobs, named after the config and the time.
Result<std::string> output_directory(const TrainOptions& options) {
  if (!options.output.empty()) return options.output;
  if (options.resume) return invalid("--resume needs --output DIR: the directory of the run to go on with");
  GRAFT_TRY(const fs::path home, graft_home());
  const auto now = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
  const std::string name = fmt::format("{}-{:%Y%m%d-%H%M%S}", fs::path(options.config).stem().string(), now);
  return (home / "jobs" / name).string();
}

void print_values(std::ostream& out, const char* heading, const NamedValues& values) {
  if (values.empty()) return;
  out << heading << '\n';
  size_t width = 0;
  for (const auto& [name, value] : values) width = std::max(width, name.size());
  for (const auto& [name, value] : values) out << fmt::format("  {:<{}}  {}\n", name, width, value);
}

TrainerSettings trainer_settings(const recipe::TrainingConfig& config, const TrainData& data) {
  TrainerSettings settings;
  settings.total_steps = data.total_steps;
  settings.learning_rate = data.learning_rate;
  settings.max_grad_norm = config.trainer.clipglobalnorm.value_or(0.0);
  settings.max_parameter_norm = config.trainer.clipnorm.value_or(0.0);
  settings.seed = static_cast<uint64_t>(config.random_seed);
  settings.evaluate_every = data.evaluate_every;
  settings.checkpoint_every = data.checkpoint_every;
  settings.keep_checkpoints = static_cast<int32_t>(config.trainer.keep_checkpoints);
  settings.early_stop = static_cast<int32_t>(std::max<int64_t>(config.trainer.early_stop, 0));
  return settings;
}

// One run of the verb, step by step; each step returns what stops the run.
class TrainVerb {
 public:
  TrainVerb(const TrainOptions& options, const VerbContext& context) : options_(options), context_(context) {}

  int run() {
    auto config = load_config(options_);
    if (!config.ok()) return report_error(context_.err, config.error(), kExitWrongUse);
    config_ = std::move(config).value();
    auto output = output_directory(options_);
    if (!output.ok()) return report_error(context_.err, output.error(), kExitWrongUse);
    output_ = std::move(output).value();
    if (Status usable = JobDirectory::check(output_, options_.resume); !usable.ok()) {
      return report_error(context_.err, usable.error(), kExitWrongUse);
    }
    auto code = work();
    return code.ok() ? *code : report_error(context_.err, code.error(), kExitFailed);
  }

 private:
  Result<int> work() {
    GRAFT_TRY(base_, context_.open_model({config_.base_model, config_.trainer.dtype, options_.threads}));
    GRAFT_TRY(data_, prepare_train_data(config_, base_->info(), {&context_.err, context_.progress, &context_.stop}));
    print_plan();
    GRAFT_CHECK_OK(recipe::check_memory(data_.memory, recipe::available_memory()));
    GRAFT_TRY(JobDirectory directory, JobDirectory::open(output_, options_.resume));
    GRAFT_CHECK_OK(describe_job(directory));
    if (already_finished(directory)) return print_already_finished();
    GRAFT_TRY(const std::unique_ptr<Session> session, base_->open_session(data_.session));
    return train(*session, directory);
  }

  Status describe_job(JobDirectory& directory) {
    JobDescription job;
    job.config = config_to_json(recipe::to_node(config_));
    job.base_model = config_.base_model;
    job.base_digest = base_->info().digest;
    job.dataset = *config_.dataset;
    job.dataset_sha256 = data_.dataset_sha256;
    job.environment = base_->info().environment;
    const nlohmann::json now = to_json(job);
    if (!directory.job()) return directory.write_job(now);
    if (auto same = check_same_job(*directory.job(), now); !same.ok()) return at(output_, same.error());
    return {};
  }

  static bool already_finished(const JobDirectory& directory) {
    std::error_code error;
    const auto history = read_history(directory.path() / "events.jsonl");
    return history.ok() && history->state == "finished" &&
           (fs::exists(directory.adapter_path() / "adapter_config.json", error) ||
            fs::exists(directory.model_path() / "config.json", error));
  }

  // "adapter" or "model", the folder of the result and what it is.
  [[nodiscard]] std::string result_kind() const {
    return recipe::trains_all_weights(config_.adapter) ? "model" : "adapter";
  }

  int print_already_finished() {
    const std::string result = (fs::path(output_) / result_kind()).string();
    if (options_.json) {
      context_.out << nlohmann::ordered_json({{"state", "finished"}, {result_kind(), result}}).dump() << '\n';
    } else {
      context_.out << fmt::format("This run has finished already: its {} is in {}\n", result_kind(), result);
    }
    return kExitDone;
  }

  Result<TrainerSettings> settings_of_run() {
    TrainerSettings settings = trainer_settings(config_, data_);
    if (!data_.session.labels.empty()) {
      settings.generate = [this](Session& session, const std::atomic<bool>& stop) {
        return class_metrics(session, data_, stop);
      };
      if (config_.trainer.validation_metric != "loss") settings.best_by = config_.trainer.validation_metric;
      return settings;
    }
    const std::vector<std::string> names = evaluation_metrics(config_.trainer);
    if (names.empty()) return settings;
    GRAFT_TRY(Metrics metrics, Metrics::open(names));
    evaluation_.emplace(base_->info(), data_, std::move(metrics), config_.generation.max_new_tokens);
    settings.generate = [this](Session& session, const std::atomic<bool>& stop) {
      return (*evaluation_)(session, stop);
    };
    if (config_.trainer.validation_metric != "loss") settings.best_by = metric_label(config_.trainer.validation_metric);
    return settings;
  }

  Result<int> train(Session& session, JobDirectory& directory) {
    TrainProgress progress(context_.err, context_.progress, data_.total_steps);
    GRAFT_TRY(TrainerSettings settings, settings_of_run());
    RunRecords records(progress);
    Trainer trainer(session, *data_.train, data_.validation, std::move(settings), base_->info().environment, directory,
                    records, context_.stop);
    if (options_.resume) GRAFT_CHECK_OK(trainer.resume());
    GRAFT_CHECK_OK(records.open({config_, output_, fs::absolute(output_).filename().string(), base_->info().digest,
                                 data_.dataset_sha256, trainer.state().step}));
    auto outcome = trainer.run();
    records.end(!outcome.ok()                            ? RunEnd::kFailed
                : *outcome == TrainOutcome::kInterrupted ? RunEnd::kStopped
                                                         : RunEnd::kFinished);
    progress.finish();
    if (!outcome.ok()) return outcome.error();
    if (*outcome == TrainOutcome::kInterrupted) return interrupted(trainer.state().step);

    GRAFT_TRY(const int64_t kept, trainer.restore_best());
    progress.on_note("asking the base model and the result about some rows, writing the report");
    const FinishedRun run{base_->info(), config_, data_, *outcome, trainer.state(), kept, *config_.dataset};
    GRAFT_TRY(const RunResult result, finish_run(session, directory, run));
    GRAFT_CHECK_OK(directory.append_event(
        {{"event", "state"}, {"state", "finished"}, {"step", run.state.step}, {"kept_step", kept}}));
    print_result(run, result);
    return kExitDone;
  }

  [[nodiscard]] std::string resume_command() const {
    std::vector<std::string> words = {"graft", "train", options_.config};
    for (const std::string& assignment : options_.overrides) words.insert(words.end(), {"--set", assignment});
    if (options_.dataset) words.insert(words.end(), {"--dataset", *options_.dataset});
    if (options_.model) words.insert(words.end(), {"--model", *options_.model});
    if (options_.dtype) words.insert(words.end(), {"--dtype", *options_.dtype});
    if (options_.threads > 0) words.insert(words.end(), {"--threads", std::to_string(options_.threads)});
    words.insert(words.end(), {"--output", output_, "--resume"});
    return shell_command(words);
  }

  // Not done, so not exit code 0: a script must not go on with an adapter that is not there.
  int interrupted(int64_t step) {
    if (options_.json) {
      context_.out
          << nlohmann::ordered_json({{"state", "stopped"}, {"step", step}, {"resume", resume_command()}}).dump()
          << '\n';
    }
    context_.err << fmt::format("Stopped after step {} of {}; everything is saved. Go on with:\n  {}\n", step,
                                data_.total_steps, resume_command())
                 << std::flush;
    return kExitFailed;
  }

  // Of the adapter, and what it has beside its factors.
  [[nodiscard]] std::string beginning() const {
    std::string text;
    const SessionSettings& session = data_.session;
    if (session.pissa) text += ", by PiSSA";
    if (!session.pretrained.empty()) text += ", going on from " + session.pretrained;
    if (!session.labels.empty()) text += fmt::format(", with a head of {} classes", session.labels.size());
    return text;
  }

  void print_plan() {
    for (const std::string& warning : data_.warnings) context_.err << "warning: " << warning << '\n';
    if (options_.json) return;
    std::ostream& out = context_.out;
    const BaseModelInfo& base = base_->info();
    const recipe::TrainerConfig& trainer = config_.trainer;
    print_values(out, "Run",
                 {{"base model", fmt::format("{} ({} parameters, {})", base.name,
                                             format_short_count(base.spec.parameter_count()), base.dtype)},
                  {"trains", describe_adapter()},
                  {"steps", fmt::format("{} of about {}", data_.total_steps,
                                        trainer.max_batch_tokens
                                            ? fmt::format("{} tokens", *trainer.max_batch_tokens)
                                            : fmt::format("{} rows", trainer.effective_batch_size.value_or(0)))},
                  {"learning rate", fmt::format("{:g}, {}", trainer.learning_rate,
                                                trainer.learning_rate_scheduler.decay.value_or("constant"))},
                  {"runs on", fmt::format("{} threads, {}", base.environment.threads, base.environment.isa)},
                  {"output", output_}});
    print_values(out, "Data", data_.counts);
    out << "Memory\n" << recipe::memory_table(data_.memory, recipe::available_memory());
    if (!data_.preview.empty()) out << data_.preview << '\n';
    out << std::flush;
  }

  [[nodiscard]] std::string describe_adapter() const {
    const recipe::AdapterConfig& adapter = config_.adapter;
    if (recipe::trains_all_weights(adapter)) return "all weights, " + config_.trainer.optimizer.type;
    return fmt::format("{} r={} alpha={:g} dropout={:g} on {}{}", adapter.type, adapter.r, adapter.alpha.value_or(0),
                       adapter.dropout, fmt::join(adapter.target_modules, ", "), beginning());
  }

  [[nodiscard]] std::string try_command(const FinishedRun& run, const std::string& result) const {
    if (recipe::trains_all_weights(config_.adapter))
      return shell_command({"graft", "prompt", "--model", result}) + " 'TEXT'";
    if (!data_.session.labels.empty()) {
      return shell_command({"graft", "eval", options_.config, "--adapter", result}) + " --dataset FILE";
    }
    return shell_command({"graft", "prompt", "--model", run.base.name, "--adapter", result}) + " 'TEXT'";
  }

  void print_result(const FinishedRun& run, const RunResult& result) {
    const fs::path adapter = fs::path(output_) / result_kind();
    if (!result.certificate.holds()) {
      context_.err << fmt::format(
          "warning: the engine's log-probabilities differ from the session's by up to {:.2g} (allowed: {:.0e}); see "
          "{}\n",
          result.certificate.largest_difference, result.certificate.tolerance, (adapter / "certificate.json").string());
    }
    if (options_.json) {
      print_result_json(run, result, adapter);
      return;
    }
    NamedValues values = {
        {"steps",
         fmt::format("{}{}", run.state.step, run.outcome == TrainOutcome::kStoppedEarly ? " (stopped early)" : "")},
        {"time", fmt::format("{}, {:.0f} tokens/s", format_duration(run.state.seconds), result.tokens_per_second)},
        {"memory", format_bytes(peak_resident_bytes()) + " at its peak"}};
    if (!result.history.evaluations.empty()) {
      values.emplace_back("validation loss",
                          fmt::format("{:.4f} before, {:.4f} at step {}", result.history.evaluations.front().loss,
                                      run.state.best ? run.state.best->loss : 0.0, run.kept_step));
    }
    if (result.confusion) {
      values.emplace_back("accuracy", fmt::format("{:.4f}, macro F1 {:.4f}, of the validation rows",
                                                  result.confusion->accuracy(), result.confusion->macro_f1()));
    }
    values.emplace_back(result_kind(), adapter.string());
    values.emplace_back("report", (adapter / "report.html").string());
    print_values(context_.out, "Done", values);
    context_.out << "Try it:\n  " << try_command(run, adapter.string()) << '\n' << std::flush;
  }

  void print_result_json(const FinishedRun& run, const RunResult& result, const fs::path& adapter) {
    nlohmann::ordered_json json = {{"state", "finished"},
                                   {"stopped_early", run.outcome == TrainOutcome::kStoppedEarly},
                                   {"steps", run.state.step},
                                   {"kept_step", run.kept_step},
                                   {"epochs", run.state.epoch},
                                   {"tokens", run.state.tokens},
                                   {"seconds", run.state.seconds},
                                   {"tokens_per_second", result.tokens_per_second},
                                   {"peak_memory_bytes", peak_resident_bytes()},
                                   {result_kind(), adapter.string()},
                                   {"report", (adapter / "report.html").string()},
                                   {"certificate_holds", result.certificate.holds()}};
    if (!result.history.steps.empty()) json["loss"] = result.history.steps.back().loss;
    if (run.state.best) json["validation_loss"] = run.state.best->loss;
    if (result.confusion) {
      json["accuracy"] = result.confusion->accuracy();
      json["macro_f1"] = result.confusion->macro_f1();
    }
    if (run.state.best && run.state.best->score) {
      json[metric_label(config_.trainer.validation_metric)] = *run.state.best->score;
    }
    context_.out << json.dump() << '\n' << std::flush;
  }

  const TrainOptions& options_;
  const VerbContext& context_;
  recipe::TrainingConfig config_;
  std::string output_;
  std::unique_ptr<BaseModel> base_;
  TrainData data_;
  std::optional<GeneratedEvaluation> evaluation_;
};

}  // namespace

int run_train(const TrainOptions& options, const VerbContext& context) { return TrainVerb(options, context).run(); }

}  // namespace graft::training
