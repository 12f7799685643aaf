#include "training/run_predict.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <utility>
#include <vector>

#include "base/files.h"
#include "base/json.h"
#include "serving/engine.h"
#include "training/class_requests.h"
#include "training/eval_rows.h"
#include "training/generate_all.h"
#include "training/line_log.h"

namespace graft::training {
namespace {

constexpr int32_t kInFlight = 32;
constexpr int64_t kMaxKvTokens = 32768;
constexpr size_t kRowsAtOnce = 256;  // whose answers are kept until their turn to be written comes

using Json = nlohmann::ordered_json;

const char* reason_name(serving::FinishReason reason) {
  switch (reason) {
    case serving::FinishReason::kEos:
      return "eos";
    case serving::FinishReason::kStopSequence:
      return "stop_sequence";
    case serving::FinishReason::kDeadline:
      return "deadline";
    case serving::FinishReason::kLength:
      break;
  }
  return "length";
}

std::string line_of(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

// Where the lines go: a file that can be gone on with, or standard output.
class Output {
 public:
  // What an earlier run has written of the file.
  struct Written {
    int64_t rows = 0;
    int64_t last_row = 0;     // its number in the data file
    std::string last_prompt;  // and its prompt
  };

  static Result<Written> open(const PredictOptions& options, std::optional<LineLog>& log) {
    if (!options.output) return Written{};
    std::error_code error;
    const bool there = fs::file_size(*options.output, error) > 0 && !error;
    if (there && !options.resume) {
      return invalid(
          fmt::format("{}: is there already; go on with it by --resume, or name another --output", *options.output));
    }
    GRAFT_TRY(LineLog opened, LineLog::open(*options.output));  // cuts off a torn last line
    log.emplace(std::move(opened));
    return read(*options.output);
  }

 private:
  static Result<Written> read(const std::string& path) {
    Written written;
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);) {
      ++written.rows;
      const auto parsed = parse_json(line);
      if (!parsed.ok() || !parsed->is_object() || !parsed->contains("row") || !(*parsed)["row"].is_number_integer()) {
        return invalid(fmt::format("{}:{}: not a line of graft predict; name another --output", path, written.rows));
      }
      written.last_row = (*parsed)["row"].get<int64_t>();
      written.last_prompt = parsed->value("prompt", std::string());
    }
    return written;
  }
};

class PredictVerb {
 public:
  PredictVerb(const PredictOptions& options, const VerbContext& context) : options_(options), context_(context) {}

  int run() {
    auto config = load_row_config(options_, false);
    if (!config.ok()) return report_error(context_.err, config.error(), kExitWrongUse);
    config_ = std::move(config).value();
    if (Status there = check_adapter(options_.adapter); !there.ok()) {
      return report_error(context_.err, there.error(), kExitWrongUse);
    }
    classifies_ = is_classifier(options_.adapter);
    if (classifies_ && options_.temperature > 0) {
      return report_error(context_.err, invalid("--temperature: the adapter classifies, there is nothing to sample"),
                          kExitWrongUse);
    }
    if (options_.resume && !options_.output) {
      return report_error(context_.err, invalid("--resume needs --output FILE: the file to go on with"), kExitWrongUse);
    }
    Status done = work();
    return done.ok() ? kExitDone : report_error(context_.err, done.error(), kExitFailed);
  }

 private:
  struct Extent {
    int64_t rows = 0;
    int64_t longest = 0;
    int64_t truncated = 0;
    int64_t dropped = 0;
  };

  Status work() {
    GRAFT_TRY(base_, context_.open_model({config_.base_model, config_.trainer.dtype, options_.threads}));
    if (!classifies_) {
      data_options_.max_new_tokens = options_.max_new_tokens.value_or(config_.generation.max_new_tokens);
    }
    data_options_.limit = options_.limit.value_or(0);
    data_options_.answers_optional = true;
    GRAFT_CHECK_OK(measure());
    GRAFT_TRY(written_, Output::open(options_, log_));
    if (written_.rows > extent_.rows) {
      return invalid(fmt::format("{}: has {} rows, the data file has {}: it belongs to other data", *options_.output,
                                 written_.rows, extent_.rows));
    }
    GRAFT_TRY(EvalRows rows, EvalRows::open(config_, base_->info(), options_.dataset, data_options_));
    GRAFT_CHECK_OK(skip_written(rows));
    GRAFT_CHECK_OK(predict(rows));
    if (log_) GRAFT_CHECK_OK(log_->sync());
    print_summary();
    return {};
  }

  Status measure() {
    GRAFT_TRY(EvalRows rows, EvalRows::open(config_, base_->info(), options_.dataset, data_options_));
    while (true) {
      GRAFT_TRY(const std::optional<EvalRow> row, rows.next());
      if (!row) break;
      ++extent_.rows;
      extent_.truncated += row->fit == PromptFit::kTruncated ? 1 : 0;
      extent_.dropped += row->fit == PromptFit::kDropped ? 1 : 0;
      if (row->fit == PromptFit::kDropped) continue;
      extent_.longest = std::max(extent_.longest, static_cast<int64_t>(row->prompt.tokens.size()));
    }
    if (extent_.rows == 0) return invalid(options_.dataset + ": has no row");
    if (extent_.truncated > 0) {
      context_.err << fmt::format("warning: {} prompts were too long and lost their beginning\n", extent_.truncated);
    }
    if (extent_.dropped > 0) {
      context_.err << fmt::format("warning: {} rows are too long and get no answer\n", extent_.dropped);
    }
    return {};
  }

  Status skip_written(EvalRows& rows) {
    for (int64_t i = 0; i < written_.rows; ++i) {
      GRAFT_TRY(const std::optional<EvalRow> row, rows.next());
      if (i + 1 < written_.rows) continue;
      if (!row || row->prompt.row != written_.last_row || row->prompt.prompt != written_.last_prompt) {
        return invalid(fmt::format("{}: line {} is not of row {} of {}: it belongs to other data or another prompt",
                                   *options_.output, written_.rows, written_.last_row, options_.dataset));
      }
    }
    return {};
  }

  Result<std::unique_ptr<serving::Engine>> open_engine() {
    const int64_t one = extent_.longest + data_options_.max_new_tokens + 1;
    const int64_t kv = std::max(2 * one, std::min(one * std::min<int64_t>(kInFlight, extent_.rows), kMaxKvTokens));
    GRAFT_TRY(auto model, base_->open_step_model(static_cast<int32_t>(kv)));
    return serving::Engine::create(std::move(model), base_->info().tokenizer, base_->info().spec.eos_token_ids,
                                   serving::EngineLimits{});
  }

  [[nodiscard]] serving::GenerationRequest request(const EvalRow& row) const {
    if (classifies_) return class_request(row.prompt.tokens, *options_.adapter);
    serving::GenerationRequest made;
    made.prompt = row.prompt.tokens;
    made.max_new_tokens = static_cast<int32_t>(data_options_.max_new_tokens);
    made.logprobs = false;
    if (options_.adapter) made.adapter.id = *options_.adapter;
    if (options_.temperature > 0) {
      made.sampling.greedy = false;
      made.sampling.temperature = options_.temperature;
      made.sampling.top_k = static_cast<int32_t>(options_.top_k.value_or(0));
      made.sampling.top_p = options_.top_p.value_or(1.0);
      made.sampling.seed = options_.seed + static_cast<uint64_t>(row.prompt.row) * 0x9E3779B97F4A7C15ULL;
    }
    return made;
  }

  Status predict(EvalRows& rows) {
    if (written_.rows == extent_.rows) return {};
    GRAFT_TRY(const auto engine, open_engine());
    Progress::Options bar;
    bar.style = context_.progress;
    bar.label = "predicting";
    bar.unit = "row";
    bar.total = extent_.rows;
    bar.done = written_.rows;
    Progress progress(context_.err, bar);
    const auto start = std::chrono::steady_clock::now();
    done_ = written_.rows;
    Status status;
    while (status.ok() && done_ < extent_.rows) status = predict_some(rows, *engine, progress);
    seconds_ = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    progress.finish();
    if (!status.ok() && status.error().kind == ErrorKind::kCancelled) {
      return cancelled(fmt::format("stopped after {} of {} rows{}", done_, extent_.rows,
                                   options_.output ? "; the same command with --resume goes on" : ""));
    }
    return status;
  }

  Status predict_some(EvalRows& rows, serving::Engine& engine, Progress& progress) {
    std::vector<EvalRow> some;
    std::vector<serving::GenerationRequest> requests;
    while (some.size() < kRowsAtOnce) {
      GRAFT_TRY(std::optional<EvalRow> row, rows.next());
      if (!row) break;
      if (row->fit != PromptFit::kDropped) requests.push_back(request(*row));
      some.push_back(std::move(*row));
    }
    if (some.empty()) return invalid(options_.dataset + ": became shorter while it was read");
    GenerateAllOptions all;
    all.in_flight = kInFlight;
    all.stop = &context_.stop;
    all.on_progress = [&](int64_t done, int64_t /*tokens*/) { progress.update(done_ + done, ""); };
    GRAFT_TRY(const auto results, generate_all(engine, std::move(requests), all));
    size_t next = 0;
    for (const EvalRow& row : some) {
      GRAFT_CHECK_OK(write(row, row.fit == PromptFit::kDropped ? nullptr : &results[next++]));
    }
    done_ += static_cast<int64_t>(some.size());
    progress.update(done_, "");
    return {};
  }

  Status write(const EvalRow& row, const serving::GenerationResult* result) {
    Json json = {{"row", row.prompt.row}, {"prompt", row.prompt.prompt}};
    if (result != nullptr && classifies_) {
      add_class(*result, json);
    } else if (result != nullptr) {
      json["prediction"] = result->text;
      json["finish_reason"] = reason_name(result->reason);
      json["tokens"] = result->tokens.size();
      tokens_ += static_cast<int64_t>(result->tokens.size());
    } else {
      json["error"] = "the prompt is too long";
    }
    if (row.answered) json["reference"] = row.prompt.reference;
    if (log_) return log_->append(line_of(json));
    context_.out << line_of(json) << '\n' << std::flush;
    return context_.out.good() ? Status() : invalid("cannot write to standard output");
  }

  static void add_class(const serving::GenerationResult& result, Json& json) {
    const ClassAnswer answer = class_answer(result);
    json["prediction"] = answer.name;
    for (size_t i = 0; i < answer.probabilities.size(); ++i) {
      json["probabilities"][result.head->labels[i]] = answer.probabilities[i];
    }
  }

  void print_summary() {
    if (!options_.output) return;
    const int64_t rows = extent_.rows - written_.rows;
    if (options_.json) {
      context_.out << line_of(Json{{"model", base_->info().name},
                                   {"dataset", options_.dataset},
                                   {"output", *options_.output},
                                   {"rows", extent_.rows},
                                   {"already_written", written_.rows},
                                   {"truncated", extent_.truncated},
                                   {"dropped", extent_.dropped},
                                   {"generated_tokens", tokens_},
                                   {"seconds", seconds_}})
                   << '\n'
                   << std::flush;
      return;
    }
    context_.out << fmt::format("predicted   {} rows{}\npredictions {}\n", rows,
                                written_.rows > 0 ? fmt::format(", {} were there already", written_.rows) : "",
                                *options_.output)
                 << std::flush;
  }

  const PredictOptions& options_;
  const VerbContext& context_;
  recipe::TrainingConfig config_;
  std::unique_ptr<BaseModel> base_;
  bool classifies_ = false;  // the adapter does
  EvalDataOptions data_options_;
  Extent extent_;
  Output::Written written_;
  std::optional<LineLog> log_;
  int64_t done_ = 0;
  int64_t tokens_ = 0;
  double seconds_ = 0;
};

}  // namespace

int run_predict(const PredictOptions& options, const VerbContext& context) {
  return PredictVerb(options, context).run();
}

}  // namespace graft::training
