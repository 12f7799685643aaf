#include "engine/serve_command.h"

#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <memory>
#include <thread>

#include "engine/build_info.h"
#include "engine/engine_options.h"
#include "engine/loaded_model.h"
#include "ops/cpu/parallel.h"
#include "runtime/executor/executor.h"
#include "serving/api/api_server.h"
#include "training/stop_signals.h"

namespace graft::engine {

namespace {

struct ServeOptions {
  EngineOptions engine;
  std::string hostname = "127.0.0.1";
  uint16_t port = 8080;
  int32_t max_input_length = 0;
  int32_t max_best_of = 2;
  int32_t max_stop_sequences = 4;
  std::string adapter_source = "local";
  std::string adapter_directory;
  std::vector<std::string> preloaded_adapters;
  std::vector<std::string> cors_allow_origin;
};

serving::api::ApiConfig api_config(const ServeOptions& options, const LoadedModel& model) {
  serving::api::ApiConfig config;
  config.host = options.hostname;
  config.port = options.port;
  config.cors_allow_origins = options.cors_allow_origin;
  config.model_id = model.name;
  config.model_sha = model.digest;
  config.model_dtype = model.dtype;
  config.version = version();
  config.bos_token = model.template_variables.value("bos_token", "");
  config.eos_token = model.template_variables.value("eos_token", "");
  config.vocab_size = model.decoder->spec().vocab_size;
  config.eos_token_ids = model.decoder->spec().eos_token_ids;
  config.adapter_directory = options.adapter_directory;
  config.max_input_length = options.max_input_length;
  config.max_best_of = options.max_best_of;
  config.max_stop_sequences = options.max_stop_sequences;
  return config;
}

// Reads every adapter once, so that the first request does not wait and a bad path shows now.
Status preload(serving::Engine& engine, const LoadedModel& model, const std::vector<std::string>& adapters) {
  for (const std::string& id : adapters) {
    serving::GenerationRequest request;
    request.prompt = model.tokenizer->encode("a").ids;
    request.max_new_tokens = 1;
    request.adapter.id = id;
    if (auto result = serving::generate(engine, std::move(request)); !result.ok()) {
      return at("--preloaded-adapter-ids", result.error());
    }
  }
  return {};
}

Status run_serve(const ServeOptions& options) {
  const training::StopSignals signals;
  if (options.adapter_source != "local") {
    return unsupported(fmt::format("--adapter-source {}: adapters are read from local paths only so far; use local",
                                   options.adapter_source));
  }
  ops::cpu::set_parallel_threads(options.engine.threads);
  GRAFT_TRY(const LoadedModel model, load_model(options.engine.model, options.engine.dtype));
  GRAFT_TRY(const std::unique_ptr<serving::Engine> engine, start_engine(model, options.engine));
  GRAFT_CHECK_OK(preload(*engine, model, options.preloaded_adapters));
  GRAFT_TRY(
      const std::unique_ptr<serving::api::ApiServer> server,
      serving::api::ApiServer::start(api_config(options, model), *engine, *model.tokenizer, model.chat_template.get()));
  fmt::print("serving {} ({}) with {} threads\nlistening on http://{}:{}\n", model.name, model.dtype,
             ops::cpu::parallel_threads(), options.hostname, server->port());
  std::fflush(stdout);
  while (!signals.requested()) std::this_thread::sleep_for(std::chrono::milliseconds(50));
  fmt::print("stopping: what runs may finish, 10 s at most\n");
  std::fflush(stdout);
  server->stop(std::chrono::seconds(10));
  return {};
}

}  // namespace

void add_serve_command(CLI::App& app, int* code) {
  auto* command =
      app.add_subcommand("serve", "Serve a base model and its adapters over HTTP (OpenAI and LoRAX routes)");
  auto options = std::make_shared<ServeOptions>();
  options->engine.add_to(*command);
  command->add_option("--hostname", options->hostname, "address to listen on")->capture_default_str();
  command->add_option("--port", options->port, "port to listen on; 0: a free one, printed at the start")
      ->envname("PORT")
      ->capture_default_str();
  command->add_option("--max-input-length", options->max_input_length, "longest prompt in tokens; 0: all that fits")
      ->envname("MAX_INPUT_LENGTH");
  command->add_option("--max-best-of", options->max_best_of, "largest best_of of a request")
      ->envname("MAX_BEST_OF")
      ->capture_default_str();
  command->add_option("--max-stop-sequences", options->max_stop_sequences, "most stop sequences of a request")
      ->envname("MAX_STOP_SEQUENCES")
      ->capture_default_str();
  command
      ->add_option("--adapter-source", options->adapter_source, "where adapter ids point to: local (a PEFT directory)")
      ->envname("ADAPTER_SOURCE")
      ->capture_default_str();
  command
      ->add_option("--adapter-directory", options->adapter_directory,
                   "folder whose subfolders are adapters: their names are ids, listed by /v1/models")
      ->envname("ADAPTER_DIRECTORY");
  command
      ->add_option("--preloaded-adapter-ids", options->preloaded_adapters, "adapters to read before the first request")
      ->envname("PRELOADED_ADAPTER_IDS")
      ->delimiter(',');
  command->add_option("--cors-allow-origin", options->cors_allow_origin, "origins that browsers may call from")
      ->envname("CORS_ALLOW_ORIGIN")
      ->delimiter(',');
  command->callback([options, code] {
    const Status status = run_serve(*options);
    if (status.ok()) return;
    fmt::print(stderr, "error: {}\n", status.error().message);
    *code = 1;
  });
}

}  // namespace graft::engine
