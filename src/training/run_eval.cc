#include "training/run_eval.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>
#include <optional>
#include <utility>

#include "base/files.h"
#include "base/strings.h"
#include "recipe/scoring.h"
#include "serving/engine.h"
#include "training/class_requests.h"
#include "training/confusion.h"
#include "training/eval_rows.h"
#include "training/generate_all.h"
#include "training/metrics.h"

namespace graft::training {
namespace {

constexpr int32_t kInFlight = 32;
constexpr int64_t kMaxKvTokens = 32768;
constexpr size_t kShownLabels = 12;

struct LossTotal {
  double loss = 0;
  int64_t tokens = 0;
};

// Of the tokens that a training step would learn from this row. `logprobs[i]` belongs to token i.
LossTotal loss_of(const recipe::Example& example, const std::vector<runtime::TokenLogprob>& logprobs) {
  LossTotal total;
  for (size_t i = 1; i < example.tokens.size() && i < logprobs.size(); ++i) {
    if (example.supervised[i] == 0) continue;
    total.loss -= double{logprobs[i].logprob};
    ++total.tokens;
  }
  return total;
}

class EvalVerb {
 public:
  EvalVerb(const EvalOptions& options, const VerbContext& context) : options_(options), context_(context) {}

  int run() {
    auto config = load_row_config(options_, true);
    if (!config.ok()) return report_error(context_.err, config.error(), kExitWrongUse);
    config_ = std::move(config).value();
    if (Status there = check_adapter(options_.adapter); !there.ok()) {
      return report_error(context_.err, there.error(), kExitWrongUse);
    }
    classifies_ = is_classifier(options_.adapter);
    if (classifies_ && options_.loss) {
      return report_error(context_.err,
                          invalid("--loss is of written answers, and the adapter classifies: leave it out"),
                          kExitWrongUse);
    }
    for (const std::string& name : options_.metrics) {
      if (Status known = check_metric_name(name); !known.ok()) {
        return report_error(context_.err, at("--metric", known.error()), kExitWrongUse);
      }
    }
    Status done = work();
    return done.ok() ? kExitDone : report_error(context_.err, done.error(), kExitFailed);
  }

 private:
  Status work() {
    GRAFT_TRY(base_, context_.open_model({config_.base_model, config_.trainer.dtype, options_.threads}));
    if (!classifies_) max_new_tokens_ = options_.max_new_tokens.value_or(config_.generation.max_new_tokens);
    GRAFT_TRY(data_, read_eval_rows(config_, base_->info(), options_.dataset,
                                    {max_new_tokens_, options_.limit.value_or(0), options_.loss}));
    say_what_was_cut();
    GRAFT_TRY(metrics_, Metrics::open(options_.metrics));
    GRAFT_TRY(auto engine, open_engine());
    GRAFT_CHECK_OK(ask(*engine));
    if (options_.loss) GRAFT_CHECK_OK(score_losses(*engine));
    engine.reset();
    GRAFT_CHECK_OK(write_predictions());
    options_.json ? print_json() : print_table();
    return {};
  }

  void say_what_was_cut() {
    if (data_.truncated > 0) {
      context_.err << fmt::format("warning: {} prompts were too long and lost their beginning\n", data_.truncated);
    }
    if (data_.dropped > 0) context_.err << fmt::format("warning: {} rows are too long and left out\n", data_.dropped);
  }

  Result<std::unique_ptr<serving::Engine>> open_engine() {
    const int64_t one = data_.longest + max_new_tokens_ + 1;
    const int64_t wanted = one * std::min<int64_t>(kInFlight, static_cast<int64_t>(data_.rows.size()));
    const int64_t kv = std::max(2 * one, std::min(wanted, kMaxKvTokens));
    GRAFT_TRY(auto model, base_->open_step_model(static_cast<int32_t>(kv)));
    return serving::Engine::create(std::move(model), base_->info().tokenizer, base_->info().spec.eos_token_ids,
                                   serving::EngineLimits{});
  }

  [[nodiscard]] serving::GenerationRequest request(const std::vector<int32_t>& tokens) const {
    if (classifies_) return class_request(tokens, *options_.adapter);
    serving::GenerationRequest made;
    made.prompt = tokens;
    made.max_new_tokens = static_cast<int32_t>(max_new_tokens_);
    made.logprobs = false;
    if (options_.adapter) made.adapter.id = *options_.adapter;
    return made;
  }

  Result<std::vector<serving::GenerationResult>> generate(serving::Engine& engine,
                                                          std::vector<serving::GenerationRequest> requests,
                                                          const char* label) {
    Progress::Options bar;
    bar.style = context_.progress;
    bar.label = label;
    bar.unit = "row";
    bar.total = static_cast<int64_t>(requests.size());
    Progress progress(context_.err, bar);
    GenerateAllOptions options;
    options.in_flight = kInFlight;
    options.stop = &context_.stop;
    options.on_progress = [&](int64_t done, int64_t /*tokens*/) { progress.update(done, ""); };
    auto results = generate_all(engine, std::move(requests), options);
    progress.finish();
    if (!results.ok() && results.error().kind == ErrorKind::kCancelled) {
      return cancelled(std::string(label) + " was stopped; nothing was written");
    }
    return results;
  }

  Status ask(serving::Engine& engine) {
    std::vector<serving::GenerationRequest> requests;
    for (const EvalRow& row : data_.rows) requests.push_back(request(row.prompt.tokens));
    const auto start = std::chrono::steady_clock::now();
    GRAFT_TRY(answers_, generate(engine, std::move(requests), "answering"));
    seconds_ = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (classifies_) take_classes();
    for (size_t i = 0; i < answers_.size(); ++i) {
      const recipe::PromptExample& prompt = data_.rows[i].prompt;
      score_.add(prompt.reference, answers_[i].text);
      if (metrics_.empty()) continue;
      GRAFT_TRY(MetricValues values, metrics_.add(prompt.row, prompt.prompt, answers_[i].text, prompt.reference));
      row_metrics_.push_back(std::move(values));
    }
    return {};
  }

  void take_classes() {
    if (answers_.empty() || answers_.front().head == nullptr) return;
    const std::vector<std::string>& labels = answers_.front().head->labels;
    std::map<std::string, int64_t> unknown;
    Confusion confusion(labels);
    for (size_t i = 0; i < answers_.size(); ++i) {
      const ClassAnswer answer = class_answer(answers_[i]);
      answers_[i].text = answer.name;
      const std::string& reference = data_.rows[i].prompt.reference;
      const auto place = std::find(labels.begin(), labels.end(), reference);
      if (place == labels.end()) {
        ++unknown[reference];
      } else {
        confusion.add(static_cast<size_t>(place - labels.begin()), answer.label);
      }
    }
    for (const auto& [label, rows] : unknown) {
      context_.err << fmt::format(
          "warning: {} rows have the label '{}', which the adapter does not know: they count as wrong\n", rows,
          printable(label, 60));
    }
    confusion_.emplace(std::move(confusion));
  }

  Status score_losses(serving::Engine& engine) {
    std::vector<serving::GenerationRequest> requests;
    for (const EvalRow& row : data_.rows) {
      serving::GenerationRequest one = request(row.whole.tokens);
      one.max_new_tokens = 1;
      one.prompt_logprobs = true;
      requests.push_back(std::move(one));
    }
    GRAFT_TRY(const auto results, generate(engine, std::move(requests), "scoring"));
    for (size_t i = 0; i < results.size(); ++i) {
      row_losses_.push_back(loss_of(data_.rows[i].whole, results[i].prefill));
      loss_.loss += row_losses_.back().loss;
      loss_.tokens += row_losses_.back().tokens;
    }
    return {};
  }

  Status write_predictions() {
    if (!options_.output) return {};
    GRAFT_TRY(AtomicFile file, AtomicFile::create(*options_.output));
    for (size_t i = 0; i < answers_.size(); ++i) {
      const recipe::PromptExample& prompt = data_.rows[i].prompt;
      const bool correct = recipe::normalise_answer(prompt.reference) == recipe::normalise_answer(answers_[i].text);
      nlohmann::ordered_json line = {{"row", prompt.row},
                                     {"prompt", prompt.prompt},
                                     {"reference", prompt.reference},
                                     {"prediction", answers_[i].text},
                                     {"correct", correct}};
      if (!metrics_.empty()) {
        for (const auto& [name, value] : row_metrics_[i]) line["metrics"][name] = value;
      }
      if (options_.loss && row_losses_[i].tokens > 0) {
        line["loss"] = row_losses_[i].loss / static_cast<double>(row_losses_[i].tokens);
      }
      GRAFT_CHECK_OK(file.write(line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n"));
    }
    return file.commit();
  }

  [[nodiscard]] int64_t generated_tokens() const {
    int64_t tokens = 0;
    for (const auto& answer : answers_) tokens += static_cast<int64_t>(answer.tokens.size());
    return tokens;
  }

  void print_json() {
    nlohmann::ordered_json json = {{"model", base_->info().name}, {"adapter", nullptr},
                                   {"dataset", options_.dataset}, {"rows", score_.rows()},
                                   {"correct", score_.correct()}, {"accuracy", score_.accuracy()}};
    if (options_.adapter) json["adapter"] = *options_.adapter;
    if (options_.loss) {
      json["loss"] = loss_.loss / static_cast<double>(std::max<int64_t>(loss_.tokens, 1));
      json["perplexity"] = recipe::perplexity(loss_.loss, loss_.tokens);
      json["loss_tokens"] = loss_.tokens;
    }
    for (const auto& [name, value] : metrics_.means()) json["metrics"][name] = value;
    json["labels"] = nlohmann::ordered_json::object();
    for (const auto& [label, one] : score_.labels()) {
      json["labels"][label] = {{"rows", one.rows},           {"answered", one.answered}, {"correct", one.correct},
                               {"precision", one.precision}, {"recall", one.recall},     {"f1", one.f1}};
    }
    if (confusion_) {
      json["macro_f1"] = confusion_->macro_f1();
      json["confusion"] = nlohmann::ordered_json::object();
      for (const auto& [label, answers] : score_.confusion()) json["confusion"][label] = answers;
    }
    json["truncated"] = data_.truncated;
    json["dropped"] = data_.dropped;
    json["generated_tokens"] = generated_tokens();
    json["seconds"] = seconds_;
    if (options_.output) json["output"] = *options_.output;
    context_.out << json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) << '\n' << std::flush;
  }

  void print_table() {
    std::ostream& out = context_.out;
    out << fmt::format("accuracy    {:.2f}% ({} of {} rows)\n", 100 * score_.accuracy(), score_.correct(),
                       score_.rows());
    if (confusion_) out << fmt::format("macro F1    {:.4f}\n", confusion_->macro_f1());
    if (options_.loss && loss_.tokens > 0) {
      out << fmt::format("loss        {:.4f} nats per token, perplexity {:.3f} ({} tokens of right answers)\n",
                         loss_.loss / static_cast<double>(loss_.tokens), recipe::perplexity(loss_.loss, loss_.tokens),
                         loss_.tokens);
    }
    for (const auto& [name, value] : metrics_.means()) out << fmt::format("{:<11} {:.4f}\n", name, value);
    const auto labels = score_.labels();
    if (labels.size() > 1 && labels.size() <= kShownLabels) {
      size_t width = 6;
      for (const auto& [label, one] : labels) width = std::max(width, label.size());
      out << fmt::format("\n{:<{}}  {:>7} {:>9} {:>7} {:>7}\n", "answer", width, "rows", "precision", "recall", "f1");
      for (const auto& [label, one] : labels) {
        out << fmt::format("{:<{}}  {:>7} {:>9.3f} {:>7.3f} {:>7.3f}\n", label, width, one.rows, one.precision,
                           one.recall, one.f1);
      }
    }
    if (options_.output) out << "\npredictions " << *options_.output << '\n';
    out << std::flush;
  }

  const EvalOptions& options_;
  const VerbContext& context_;
  recipe::TrainingConfig config_;
  std::unique_ptr<BaseModel> base_;
  bool classifies_ = false;  // the adapter does
  int64_t max_new_tokens_ = 0;
  EvalData data_;
  std::vector<serving::GenerationResult> answers_;
  recipe::AnswerScore score_;
  std::optional<Confusion> confusion_;  // of a classifier, over the labels that it knows
  Metrics metrics_;
  std::vector<MetricValues> row_metrics_;
  std::vector<LossTotal> row_losses_;
  LossTotal loss_;
  double seconds_ = 0;
};

}  // namespace

int run_eval(const EvalOptions& options, const VerbContext& context) { return EvalVerb(options, context).run(); }

}  // namespace graft::training
