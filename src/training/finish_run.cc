#include "training/finish_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/digest.h"
#include "base/files.h"
#include "base/progress.h"
#include "training/classifier_run.h"
#include "training/generate_all.h"
#include "training/model_card.h"
#include "training/session_engine.h"
#include "training/verb.h"

namespace graft::training {
namespace {

constexpr size_t kSamples = 4;
constexpr size_t kCertified = 8;

const char* kind_of_result(const FinishedRun& run) {
  return recipe::trains_all_weights(run.config.adapter) ? "model" : "adapter";
}

// Prompts that fit.
std::vector<const SamplePrompt*> sample_prompts(const serving::Engine& engine, const FinishedRun& run) {
  std::vector<const SamplePrompt*> asked;
  for (const SamplePrompt& prompt : run.data.prompts) {
    const int64_t room = engine.limits().max_total_tokens - static_cast<int64_t>(prompt.tokens.size());
    if (asked.size() < kSamples && room > 0 && !prompt.tokens.empty()) asked.push_back(&prompt);
  }
  return asked;
}

Result<std::vector<std::string>> answers(serving::Engine& engine, const std::string& adapter, const FinishedRun& run) {
  std::vector<serving::GenerationRequest> requests;
  for (const SamplePrompt* prompt : sample_prompts(engine, run)) {
    const int64_t room = engine.limits().max_total_tokens - static_cast<int64_t>(prompt->tokens.size());
    serving::GenerationRequest request;
    request.prompt = prompt->tokens;
    request.max_new_tokens = static_cast<int32_t>(std::min(run.config.generation.max_new_tokens, room));
    request.adapter.id = adapter;
    requests.push_back(std::move(request));
  }
  GRAFT_TRY(const auto results, generate_all(engine, std::move(requests), {}));
  std::vector<std::string> texts;
  for (const serving::GenerationResult& result : results) texts.push_back(result.text);
  return texts;
}

// What the base says, by an engine of its own where the model itself was trained.
Result<std::vector<std::string>> base_answers(Session& session, serving::Engine& engine, const FinishedRun& run) {
  if (!session.is_full()) return answers(engine, "", run);
  GRAFT_TRY(const auto base, open_base_engine(session, run.base, run.data.sample_tokens));
  return answers(*base, "", run);
}

Result<std::vector<Sample>> make_samples(Session& session, const SessionEngine& trained, const FinishedRun& run) {
  GRAFT_TRY(const std::vector<std::string> before, base_answers(session, *trained.engine, run));
  GRAFT_TRY(const std::vector<std::string> after, answers(*trained.engine, trained.adapter, run));
  const std::vector<const SamplePrompt*> asked = sample_prompts(*trained.engine, run);
  std::vector<Sample> samples;
  for (size_t i = 0; i < asked.size(); ++i) {
    samples.push_back({asked[i]->prompt, asked[i]->reference, before[i], after[i]});
  }
  return samples;
}

bool classifies(const FinishedRun& run) { return !run.data.session.labels.empty(); }

std::vector<std::vector<int32_t>> certified_texts(const serving::Engine& engine, const FinishedRun& run) {
  std::vector<std::vector<int32_t>> texts;
  for (const std::vector<int32_t>& text : run.data.texts) {
    const bool fits = static_cast<int32_t>(text.size()) < engine.limits().max_total_tokens;
    if (texts.size() < kCertified && fits) texts.push_back(text);
  }
  return texts;
}

std::string describe_outcome(const FinishedRun& run) {
  std::string text = fmt::format("{} after {} steps ({:.2f} epochs).",
                                 run.outcome == TrainOutcome::kStoppedEarly ? "Stopped early" : "Finished",
                                 run.state.step, run.state.epoch);
  if (run.kept_step != run.state.step) {
    text += fmt::format(" The {} holds the parameters of step {}, which had the best validation loss.",
                        kind_of_result(run), run.kept_step);
  }
  return text;
}

NamedValues headline(const FinishedRun& run, const RunResult& result, int64_t trainable) {
  NamedValues values;
  if (result.confusion) {
    values.emplace_back("accuracy", fmt::format("{:.1f} %", 100 * result.confusion->accuracy()));
    values.emplace_back("macro F1", fmt::format("{:.3f}", result.confusion->macro_f1()));
  }
  const auto& evaluations = result.history.evaluations;
  if (!evaluations.empty()) {
    const auto kept = std::find_if(evaluations.begin(), evaluations.end(),
                                   [&](const HistoryEvaluation& one) { return one.step == run.kept_step; });
    const double after = kept == evaluations.end() ? evaluations.back().loss : kept->loss;
    values.emplace_back("validation loss", fmt::format("{:.3f} → {:.3f}", evaluations.front().loss, after));
  } else if (!result.history.steps.empty()) {
    values.emplace_back("training loss", fmt::format("{:.3f} → {:.3f}", result.history.steps.front().loss,
                                                     result.history.steps.back().loss));
  }
  values.emplace_back("training speed", fmt::format("{:.0f} tokens/s", result.tokens_per_second));
  values.emplace_back("time", format_duration(run.state.seconds));
  values.emplace_back("trainable parameters", fmt::format("{} of {}", format_short_count(trainable),
                                                          format_short_count(run.base.spec.parameter_count())));
  values.emplace_back("peak memory", format_bytes(peak_resident_bytes()));
  return values;
}

std::string remark(const FinishedRun& run, const RunResult& result) {
  if (!result.certificate.holds()) {
    return fmt::format(
        "The engine's log-probabilities differ from the session's by up to {:.2g}, more than the {:.0e} that {} "
        "promises: "
        "please report this as a bug.",
        result.certificate.largest_difference, result.certificate.tolerance, run.base.dtype);
  }
  if (!result.samples.empty() && !run.data.samples_are_held_out) {
    return fmt::format("There are no validation rows: the samples are rows that the {} was trained on.",
                       kind_of_result(run));
  }
  return "";
}

ReportData report_data(const FinishedRun& run, const RunResult& result, int64_t trainable) {
  ReportData data;
  data.title = run.base.name + " on " + fs::path(run.dataset).filename().string();
  data.outcome = describe_outcome(run);
  data.remark = remark(run, result);
  data.headline = headline(run, result, trainable);
  data.history = result.history;
  data.kept_step = run.kept_step;
  data.samples = result.samples;
  data.confusion = result.confusion;
  data.data = run.data.counts;
  data.performance = {{"optimizer steps", format_count(run.state.step)},
                      {"tokens", format_count(run.state.tokens)},
                      {"tokens with loss", format_count(run.state.labelled_tokens)},
                      {"time with evaluation and checkpoints", format_duration(run.state.seconds)},
                      {"resumed", fmt::format("{} times", result.history.resumes)},
                      {"memory planned", format_bytes(run.data.memory.total())},
                      {"memory at its peak", format_bytes(peak_resident_bytes())}};
  data.environment = {
      {"base model", run.base.name},
      {"base digest", run.base.digest},
      {"dtype", run.base.dtype},
      {"data", run.dataset},
      {"data SHA-256", run.data.dataset_sha256},
      {"build", run.state.environment.build},
      {"instruction set", run.state.environment.isa},
      {"threads", std::to_string(run.state.environment.threads)},
      {"certificate",
       fmt::format("{} texts, largest difference {:.2g} nats, allowed {:.0e}", result.certificate.examples.size(),
                   result.certificate.largest_difference, result.certificate.tolerance)}};
  data.config_yaml = recipe::to_yaml(run.config);
  return data;
}

double tokens_per_second(const History& history) {
  double tokens = 0;
  double seconds = 0;
  for (const HistoryStep& step : history.steps) {
    tokens += static_cast<double>(step.tokens);
    seconds += step.seconds;
  }
  return seconds > 0 ? tokens / seconds : 0;
}

// The file that stands for the weights in a certificate.
fs::path weights_file(const fs::path& path, const Session& session) {
  if (!session.is_full()) return path / "adapter_model.safetensors";
  const fs::path whole = path / "model.safetensors";
  return fs::exists(whole) ? whole : path / "model.safetensors.index.json";
}

Status fill_result(const fs::path& path, Session& session, const FinishedRun& run, RunResult& result) {
  GRAFT_CHECK_OK(session.save_adapter(path.string()));
  GRAFT_TRY(const std::string digest, sha256_file(weights_file(path, session)));
  {
    GRAFT_TRY(const SessionEngine trained, open_session_engine(session, run.base, run.data.sample_tokens));
    serving::Engine& engine = *trained.engine;
    GRAFT_TRY(result.samples, classifies(run) ? class_samples(engine, trained.adapter, run.data.prompts, kSamples)
                                              : make_samples(session, trained, run));
    const CertificateSubject subject{
        run.base.name, run.base.digest, run.base.dtype, digest, run.state.environment.build, run.state.environment.isa};
    GRAFT_TRY(result.certificate,
              make_certificate(session, engine, trained.adapter, certified_texts(engine, run), subject));
    if (classifies(run)) {
      GRAFT_CHECK_OK(
          certify_classes(session, engine, trained.adapter, certified_texts(engine, run), result.certificate));
    }
  }
  if (classifies(run) && !run.data.validation.empty()) {
    const std::atomic<bool> never{false};
    GRAFT_TRY(result.confusion, classify_rows(session, run.data.validation, run.data.session.labels, never));
  }
  GRAFT_CHECK_OK(write_file_atomic(path / "certificate.json", to_json(result.certificate).dump() + "\n"));
  GRAFT_CHECK_OK(write_file_atomic(path / "config.yaml", recipe::to_yaml(run.config)));
  const int64_t trainable = session.trainable_parameters();
  GRAFT_CHECK_OK(write_file_atomic(path / "README.md", render_model_card(run, result, trainable)));
  return write_file_atomic(path / "report.html", render_report(report_data(run, result, trainable)));
}

}  // namespace

Result<RunResult> finish_run(Session& session, JobDirectory& directory, const FinishedRun& run) {
  RunResult result;
  GRAFT_TRY(result.history, read_history(directory.path() / "events.jsonl"));
  result.tokens_per_second = tokens_per_second(result.history);
  const auto fill = [&](const fs::path& path) { return fill_result(path, session, run, result); };
  GRAFT_CHECK_OK(session.is_full() ? directory.write_model(fill) : directory.write_adapter(fill));
  return result;
}

}  // namespace graft::training
