#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <ostream>

#include "base/files.h"
#include "base/json.h"
#include "base/progress.h"
#include "cli/command.h"
#include "load/load_report.h"
#include "load/prompt_file.h"
#include "load/run_load.h"
#include "load/summary.h"
#include "net/http_client.h"

namespace graft::cli {
namespace {

struct Options {
  load::LoadOptions load;
  std::string dataset;
  std::string report;
  double timeout_s = 600;
  bool json = false;
};

// OpenAI's API wants a model's name with every request: without one, the first that the server lists.
Result<std::string> first_model(const load::LoadOptions& options) {
  net::ClientRequest request;
  request.url = options.url + "/v1/models";
  if (!options.api_key.empty()) request.headers.add("Authorization", "Bearer " + options.api_key);
  GRAFT_TRY(const net::ClientResponse response, net::http_send(request));
  const auto models = parse_json(response.body);
  if (response.status == 200 && models.ok() && models->is_object() && models->contains("data")) {
    const nlohmann::json& data = models->at("data");
    const bool named = data.is_array() && !data.empty() && data[0].is_object() && data[0].contains("id");
    if (named && data[0]["id"].is_string()) return data[0]["id"].get<std::string>();
  }
  return invalid(
      fmt::format("{}: status {}, and no list of models; name one with --model", request.url, response.status));
}

Status bench_serve(Options& options, Streams& streams) {
  load::LoadOptions& load = options.load;
  while (load.url.ends_with('/')) load.url.pop_back();
  load.timeout = std::chrono::milliseconds(static_cast<int64_t>(options.timeout_s * 1000));
  if (!options.dataset.empty()) {
    GRAFT_TRY(load.prompts, load::read_prompts(options.dataset));
  }
  if (load.api != load::Api::kOpenAiChat) {
    for (const load::Prompt& prompt : load.prompts) {
      if (!prompt.messages.is_null()) return invalid(options.dataset + ": messages need --api openai-chat");
    }
  }
  if (load.api != load::Api::kLorax && load.models.empty()) {
    GRAFT_TRY(std::string model, first_model(load));
    load.models.push_back(std::move(model));
  }
  Progress progress(streams.err, {.style = options.json ? ProgressStyle::kQuiet : progress_style_for(STDERR_FILENO),
                                  .label = "asking",
                                  .unit = "request",
                                  .total = load.requests});
  GRAFT_TRY(const load::LoadRun run, load::run_load(load, [&](int64_t done) { progress.update(done, ""); }));
  progress.finish();
  if (!options.report.empty()) GRAFT_CHECK_OK(write_file_atomic(options.report, load::render_load_report(load, run)));
  streams.out << (options.json ? load::summary_json(load, run).dump() + "\n" : load::summary_text(load, run));
  if (load::summarise(run).answered == 0) return io_error(load.url + ": no request was answered");
  return {};
}

void add_options(CLI::App& app, Options& options, CLI::Option*& rate, CLI::Option*& concurrency) {
  load::LoadOptions& load = options.load;
  app.add_option("--url", load.url, "of the server, without a route")->required();
  app.add_option("--api", load.api, "openai (completions), openai-chat or lorax (/generate)")
      ->transform(CLI::CheckedTransformer(
          std::map<std::string, load::Api>{
              {"openai", load::Api::kOpenAi}, {"openai-chat", load::Api::kOpenAiChat}, {"lorax", load::Api::kLorax}},
          CLI::ignore_case))
      ->option_text("openai|openai-chat|lorax");
  app.add_option("--model,--adapter", load.models,
                 "a model or adapter; several: asked in turn. Without: the server's base model");
  app.add_option("--requests", load.requests, "how many are measured")
      ->check(CLI::Range(int64_t{1}, int64_t{10'000'000}))
      ->capture_default_str();
  concurrency = app.add_option("--concurrency", load.concurrency,
                               "closed loop: so many clients, each asks again when it was answered. With --rate: the "
                               "most in flight; what waits for a place counts from when it was due")
                    ->check(CLI::Range(int64_t{1}, int64_t{100'000}))
                    ->capture_default_str();
  rate = app.add_option("--rate", load.rate,
                        "open loop: so many requests a second arrive (Poisson), however slow the server is")
             ->check(CLI::PositiveNumber);
  app.add_option("--prompt-tokens", load.prompt_tokens, "about so many tokens of made-up text, each prompt different")
      ->check(CLI::Range(int64_t{1}, int64_t{10'000'000}))
      ->capture_default_str();
  app.add_option("--max-tokens", load.max_tokens, "tokens asked for")
      ->check(CLI::Range(int64_t{1}, int64_t{10'000'000}))
      ->capture_default_str();
  app.add_option("--dataset", options.dataset,
                 "prompts from a file of JSON lines: {\"prompt\": ...} or {\"messages\": ...}, and \"max_tokens\"");
  app.add_option("--api-key", load.api_key, "sent as a bearer token");
  app.add_flag("--stream,!--no-stream", load.stream, "streamed answers (the default): only they have a first token");
  app.add_flag("--ignore-eos,!--no-ignore-eos", load.ignore_eos,
               "ask for exactly --max-tokens (the default); some servers refuse the field");
  app.add_option("--warmup", load.warmup, "requests before the clock runs")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--timeout-s", options.timeout_s, "of one request")->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--seed", load.seed, "of arrivals and prompts")->capture_default_str();
  app.add_flag("--json", options.json, "print the numbers as JSON");
  app.add_option("--output", options.report, "write a page with charts there (report.html)");
}

}  // namespace

int run_bench(const std::vector<std::string>& arguments, Streams& streams) {
  CLI::App app("Measures a running server.", "graft bench");
  app.require_subcommand(1);
  CLI::App& serve = *app.add_subcommand(
      "serve",
      "Measures any server of OpenAI's or LoRAX's API: time to first token, time per token, latency, throughput. "
      "Times count from when a request was due. Exit code 1 where no request was answered.");
  Options options;
  CLI::Option* rate = nullptr;
  CLI::Option* concurrency = nullptr;
  add_options(serve, options, rate, concurrency);
  return run_app(app, arguments, streams, [&] {
    if (rate->count() > 0 && concurrency->count() == 0) options.load.concurrency = 0;
    return bench_serve(options, streams);
  });
}

}  // namespace graft::cli
