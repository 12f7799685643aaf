#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/progress.h"
#include "cli/command.h"
#include "cli/model_text.h"
#include "recipe/data_report.h"
#include "recipe/dataset_cache.h"
#include "recipe/prepare_file.h"
#include "recipe/row_encoder.h"
#include "recipe/training_config.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace graft::cli {
namespace {

using nlohmann::ordered_json;

struct Options {
  std::string file;
  std::string model;
  std::string config;
  std::vector<std::string> overrides;
  size_t samples = 3;
  int32_t threads = 0;
  bool json = false;
};

constexpr const char* kDescription =
    "Reads a data file exactly as training would, with the model's tokenizer and chat template, and tells: what its "
    "rows "
    "are, how long they are in tokens, what is truncated or left out and why, duplicates, rows that are trained on and "
    "evaluated, and how many tokens an epoch and the run count. Sample rows show what carries loss: in green on a "
    "terminal, otherwise between [[ and ]].\n\nWithout --config the defaults of a training file apply: the shape of "
    "the "
    "rows is known by their columns, and rows are split 70/10/20.";

Result<recipe::TrainingConfig> load_config(const Options& options) {
  if (!options.config.empty()) return recipe::load_training_config(options.config, options.overrides);
  GRAFT_TRY(ConfigTree tree,
            ConfigTree::parse_yaml("model_type: llm\nbase_model: none\nadapter: {type: lora}\n", "defaults"));
  for (const std::string& assignment : options.overrides) GRAFT_CHECK_OK(tree.set(assignment));
  return recipe::read_training_config(tree);
}

// A model's text side, opened.
struct OpenModel {
  std::unique_ptr<text::Tokenizer> tokenizer;
  std::optional<recipe::RowEncoder> encoder;
  int64_t context = 0;
  std::string text_digest;
};

Result<OpenModel> open_model(const std::string& name, const recipe::TrainingConfig& config) {
  GRAFT_TRY(const ModelText model, load_model_text(name));
  OpenModel open;
  open.context = model.spec.max_position;
  auto tokenizer = text::Tokenizer::from_json(model.tokenizer_json);
  if (!tokenizer.ok()) return at("the tokenizer of " + name, tokenizer.error());
  open.tokenizer = std::move(tokenizer).value();
  recipe::ModelText text;
  text.tokenizer = open.tokenizer.get();
  text.eos_token_ids = model.spec.eos_token_ids;
  ordered_json variables = ordered_json::object();
  for (const auto& [variable, token] : model.special_tokens) variables[variable] = token;
  open.text_digest =
      recipe::text_digest(model.tokenizer_json, model.chat_templates, variables, model.spec.eos_token_ids);
  if (!model.chat_templates.empty()) {
    auto compiled = text::ChatTemplate::compile(model.chat_templates);
    if (!compiled.ok()) return at("the chat template of " + name, compiled.error());
    text.chat = recipe::chat_renderer(std::move(compiled).value(), std::move(variables));
  }
  GRAFT_TRY(open.encoder, recipe::RowEncoder::create(std::move(text), config.prompt.apply_chat_template));
  return open;
}

bool has_colours(const std::ostream& out) {
  return &out == &std::cout && isatty(STDOUT_FILENO) == 1 && std::getenv("NO_COLOR") == nullptr;
}

recipe::LossMarks marks_for(const std::ostream& out) {
  if (has_colours(out)) return {"\033[32m", "\033[0m"};
  return {};
}

// "1 2 [[3 4]]"
std::string ids_text(const recipe::ExampleView& example, const recipe::LossMarks& marks) {
  std::string text;
  bool marked = false;
  for (size_t i = 0; i < example.tokens.size(); ++i) {
    const bool loss = example.supervised[i] != 0;
    if (marked && !loss) text += marks.end;
    text += i > 0 ? " " : "";
    if (loss && !marked) text += marks.begin;
    text += std::to_string(example.tokens[i]);
    marked = loss;
  }
  return marked ? text + marks.end : text;
}

void print_sample(const recipe::ExampleView& example, const text::Tokenizer& tokenizer, std::ostream& out) {
  const recipe::LossMarks marks = marks_for(out);
  out << fmt::format("\nRow {}: {} tokens, {} with loss\n", example.row, example.tokens.size(),
                     recipe::supervised_tokens(example));
  out << recipe::preview(example, tokenizer, marks) << "\n" << ids_text(example, marks) << "\n";
}

ordered_json sample_json(const recipe::ExampleView& example, const text::Tokenizer& tokenizer) {
  return {{"row", example.row},
          {"ids", std::vector<int32_t>(example.tokens.begin(), example.tokens.end())},
          {"loss", std::vector<int>(example.supervised.begin(), example.supervised.end())},
          {"text", recipe::preview(example, tokenizer)}};
}

Status inspect(const Options& options, Streams& streams) {
  GRAFT_TRY(const recipe::TrainingConfig config, load_config(options));
  const std::string model_name = options.model.empty() ? config.base_model : options.model;
  if (options.model.empty() && options.config.empty()) {
    return invalid("--model is missing: tokens are those of a model (or --config, which names one)");
  }
  GRAFT_TRY(const OpenModel model, open_model(model_name, config));
  Progress progress(
      streams.err,
      {.style = options.json || &streams.err != &std::cerr ? ProgressStyle::kQuiet : progress_style_for(STDERR_FILENO),
       .label = "reading",
       .unit = "row"});
  recipe::PrepareOptions how;
  how.max_length = model.context;
  how.prompt_count = 0;
  how.threads = options.threads;
  how.on_rows = [&](int64_t rows) { progress.update(rows, ""); };
  how.on_note = [&](const std::string& line) { progress.note(line); };
  GRAFT_TRY(const recipe::PreparedFile prepared,
            recipe::prepare_file(config, *model.encoder, model.text_digest, options.file, how));
  progress.finish();
  const recipe::PreparedData& data = prepared.data;
  GRAFT_TRY(const auto report, recipe::make_data_report(data, config, recipe::longest_row(config, model.context)));
  std::vector<recipe::Example> samples;
  for (size_t i = 0; i < std::min(options.samples, data.train.size()); ++i) {
    GRAFT_TRY(recipe::Example sample, data.train.read(i));
    samples.push_back(std::move(sample));
  }
  if (options.json) {
    ordered_json json = recipe::to_json(report);
    json["samples"] = ordered_json::array();
    for (const recipe::Example& sample : samples) json["samples"].push_back(sample_json(sample, *model.tokenizer));
    streams.out << json.dump(-1, ' ', false, ordered_json::error_handler_t::replace) << "\n";
    return {};
  }
  streams.out << recipe::to_text(report);
  for (const recipe::Example& sample : samples) print_sample(sample, *model.tokenizer, streams.out);
  return {};
}

struct CacheOptions {
  bool clear = false;
  bool json = false;
};

constexpr const char* kCacheDescription =
    "Lists the prepared examples that are kept between runs in $GRAFT_HOME/cache/datasets, the one used last first. A "
    "run over the same file, model and settings starts from them at once. What was not used for the longest time is "
    "removed when all of them are larger than GRAFT_DATASET_CACHE (20GiB; 0: nothing is kept).";

int64_t days_since(std::filesystem::file_time_type time) {
  const auto age = std::filesystem::file_time_type::clock::now() - time;
  return std::chrono::duration_cast<std::chrono::hours>(age).count() / 24;
}

Status show_cache(const CacheOptions& options, Streams& streams) {
  GRAFT_TRY(const auto cache, recipe::DatasetCache::from_environment());
  if (!cache) return invalid("GRAFT_DATASET_CACHE is 0: nothing is kept");
  if (options.clear) {
    GRAFT_TRY(const int64_t bytes, cache->clear());
    if (options.json) {
      streams.out << ordered_json({{"removed_bytes", bytes}}).dump() << "\n";
    } else {
      streams.out << fmt::format("Removed {:.1f} MiB\n", static_cast<double>(bytes) / (1 << 20));
    }
    return {};
  }
  ordered_json list = ordered_json::array();
  for (const auto& entry : cache->list()) {
    list.push_back({{"file", entry.file}, {"bytes", entry.bytes}, {"complete", entry.finished}, {"key", entry.key}});
    if (options.json) continue;
    streams.out << fmt::format("{:>10.1f} MiB  used {} days ago  {}  {}\n",
                               static_cast<double>(entry.bytes) / (1 << 20), days_since(entry.used),
                               entry.finished ? "complete" : "begun   ", entry.file);
  }
  if (options.json) streams.out << list.dump(-1, ' ', false, ordered_json::error_handler_t::replace) << "\n";
  if (!options.json && list.empty()) streams.out << "Nothing is kept.\n";
  return {};
}

}  // namespace

int run_data(const std::vector<std::string>& arguments, Streams& streams) {
  CLI::App app("Looks at data files as training reads them.", "graft data");
  app.require_subcommand(1);
  Options options;
  CLI::App* verb = app.add_subcommand("inspect", kDescription);
  verb->add_option("FILE", options.file, "json, jsonl, csv, tsv, xlsx, parquet or arrow; text also with .gz or .zst")
      ->required();
  verb->add_option("--model", options.model,
                   "an imported model, a Hugging Face directory or a .gguf file; by default the config's base_model");
  verb->add_option("--config", options.config, "a training file: its template, features, split, limits and epochs");
  verb->add_option("--set", options.overrides, "KEY=VALUE, over the file's; may be repeated")->allow_extra_args(false);
  verb->add_option("--samples", options.samples, "train rows to show with their loss marked (3)");
  verb->add_option("--threads", options.threads, "that encode rows; 0: one for each core")->check(CLI::Range(0, 1024));
  verb->add_flag("--json", options.json,
                 "print one object: shape, rows, tokens {percentiles, histogram}, duplicates, leaks, billed, samples");
  CacheOptions cache;
  CLI::App* kept = app.add_subcommand("cache", kCacheDescription);
  kept->add_flag("--clear", cache.clear, "remove all of them; those in use are left");
  kept->add_flag("--json", cache.json, "print a list of {file, bytes, complete, key}");
  return run_app(app, arguments, streams,
                 [&] { return kept->parsed() ? show_cache(cache, streams) : inspect(options, streams); });
}

}  // namespace graft::cli
