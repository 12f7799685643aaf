#include "engine/serve_command.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <thread>

#include "engine/adapter_options.h"
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
  std::string pooling = "mean";
  AdapterOptions adapters;
  net::CorsOptions cors;
  std::string tls_cert, tls_key;
  std::vector<std::string> api_keys;
  double drain_timeout_s = 30;
  double header_timeout_s = 15, body_timeout_s = 120, write_timeout_s = 30, idle_timeout_s = 75;
};

std::chrono::milliseconds milliseconds(double seconds) {
  return std::chrono::milliseconds(static_cast<int64_t>(std::min(seconds, 1e9) * 1000));
}

serving::api::ApiConfig api_config(const ServeOptions& options, const LoadedModel& model) {
  serving::api::ApiConfig config;
  config.host = options.hostname;
  config.port = options.port;
  config.cors = options.cors;
  config.tls_certificate = options.tls_cert;
  config.tls_key = options.tls_key;
  config.api_keys = options.api_keys;
  config.header_timeout = milliseconds(options.header_timeout_s);
  config.body_timeout = milliseconds(options.body_timeout_s);
  config.write_timeout = milliseconds(options.write_timeout_s);
  config.idle_timeout = milliseconds(options.idle_timeout_s);
  config.model_id = model.name;
  config.model_sha = model.digest;
  config.model_dtype = model.dtype;
  config.version = version();
  config.bos_token = model.template_variables.value("bos_token", "");
  config.eos_token = model.template_variables.value("eos_token", "");
  config.vocab_size = model.decoder->spec().vocab_size;
  config.eos_token_ids = model.decoder->spec().eos_token_ids;
  config.max_input_length = options.max_input_length;
  config.max_best_of = options.max_best_of;
  config.max_stop_sequences = options.max_stop_sequences;
  config.pooling = options.pooling == "last" ? serving::Pooling::kLast : serving::Pooling::kMean;
  return config;
}

Status run_serve(const ServeOptions& options) {
  const training::StopSignals signals;
  ops::cpu::set_parallel_threads(options.engine.threads);
  GRAFT_TRY(const LoadedModel model, load_model(options.engine.model, options.engine.dtype));
  GRAFT_TRY(const std::unique_ptr<serving::Engine> engine, start_engine(model, options.engine));
  serving::api::ApiConfig config = api_config(options, model);
  const std::string computes =
      options.engine.kv_cache_dtype == "int8" ? model.dtype + " with int8 keys and values" : model.dtype;
  GRAFT_CHECK_OK(options.adapters.configure(model, *engine, computes, config));
  GRAFT_CHECK_OK(preload_adapters(*engine, model, config, options.adapters.preloaded));
  GRAFT_TRY(const std::unique_ptr<serving::api::ApiServer> server,
            serving::api::ApiServer::start(std::move(config), *engine, *model.tokenizer, model.chat_template.get()));
  fmt::print("serving {} ({}) with {} threads\nlistening on {}://{}:{}\n", model.name, model.dtype,
             ops::cpu::parallel_threads(), options.tls_cert.empty() ? "http" : "https", options.hostname,
             server->port());
  std::fflush(stdout);
  while (!signals.requested()) std::this_thread::sleep_for(std::chrono::milliseconds(50));
  fmt::print("stopping: what runs may finish, {} s at most; a second signal ends it at once\n",
             options.drain_timeout_s);
  std::fflush(stdout);
  server->stop(milliseconds(options.drain_timeout_s));
  return {};
}

void add_security_options(CLI::App& command, ServeOptions& options) {
  command.add_option("--tls-cert", options.tls_cert, "PEM file of the server's certificate and its chain: serve HTTPS")
      ->envname("TLS_CERT");
  command.add_option("--tls-key", options.tls_key, "PEM file of the certificate's private key")->envname("TLS_KEY");
  command
      .add_option("--api-key", options.api_keys,
                  "keys of which every request must bear one, but /health, /ping and /startup")
      ->envname("GRAFT_API_KEY")
      ->delimiter(',');
  const auto cors = [&](const std::string& name, const std::string& variable, std::vector<std::string>& values,
                        const std::string& help) {
    command.add_option(name, values, help)->envname(variable)->delimiter(',');
  };
  cors("--cors-allow-origin", "CORS_ALLOW_ORIGIN", options.cors.allow_origins, "origins that browsers may call from");
  cors("--cors-allow-method", "CORS_ALLOW_METHOD", options.cors.allow_methods, "methods that they may use");
  cors("--cors-allow-header", "CORS_ALLOW_HEADER", options.cors.allow_headers, "headers that they may send");
  cors("--cors-expose-header", "CORS_EXPOSE_HEADER", options.cors.expose_headers, "headers that they may read");
  command
      .add_option("--cors-allow-credentials", options.cors.allow_credentials,
                  "true: they may send cookies and the like")
      ->envname("CORS_ALLOW_CREDENTIALS");
}

void add_timeout_options(CLI::App& command, ServeOptions& options) {
  const auto seconds = [&](const std::string& name, const std::string& variable, double& value,
                           const std::string& help) {
    command.add_option(name, value, help)->envname(variable)->check(CLI::PositiveNumber)->capture_default_str();
  };
  seconds("--drain-timeout", "DRAIN_TIMEOUT", options.drain_timeout_s,
          "seconds that running requests may take after SIGTERM");
  seconds("--header-timeout", "HEADER_TIMEOUT", options.header_timeout_s, "seconds for a request's header to arrive");
  seconds("--body-timeout", "BODY_TIMEOUT", options.body_timeout_s, "seconds for a request's body to arrive");
  seconds("--write-timeout", "WRITE_TIMEOUT", options.write_timeout_s, "seconds in which a reader must take 64 KiB");
  seconds("--idle-timeout", "IDLE_TIMEOUT", options.idle_timeout_s, "seconds between requests of a connection");
}

}  // namespace

void add_serve_command(CLI::App& app, int* code) {
  auto* command =
      app.add_subcommand("serve", "Serve a base model and its adapters over HTTP (OpenAI and LoRAX routes)");
  auto options = std::make_shared<ServeOptions>();
  options->engine.add_to(*command);
  options->adapters.add_to(*command);
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
      ->add_option("--pooling", options->pooling,
                   "what an embedding is made of, where a request does not say: the mean of the hidden states, or the "
                   "last token's")
      ->envname("POOLING")
      ->check(CLI::IsMember({"mean", "last"}))
      ->capture_default_str();
  add_security_options(*command, *options);
  add_timeout_options(*command, *options);
  command->callback([options, code] {
    const Status status = run_serve(*options);
    if (status.ok()) return;
    fmt::print(stderr, "error: {}\n", status.error().message);
    *code = 1;
  });
}

}  // namespace graft::engine
