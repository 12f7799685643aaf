#include "serving/api/api_server.h"

#include <algorithm>
#include <ctime>
#include <thread>
#include <utility>

#include "fmt/format.h"
#include "net/http_server.h"
#include "serving/api/api_error.h"
#include "serving/api/gatekeeper.h"
#include "serving/api/prompt.h"
#include "serving/api/routes.h"
#include "serving/api/trace.h"

namespace graft::serving::api {
namespace {

// Grammars are compiled for the ids of the engine's model, on a thread of their own.
std::unique_ptr<grammar::Compiler> make_compiler(const ApiConfig& config, const text::Tokenizer& tokenizer) {
  const int64_t size = std::max<int64_t>(config.vocab_size, tokenizer.vocab_size());
  return grammar::Compiler::create(
      [&tokenizer, size, ends = config.eos_token_ids] { return grammar::make_vocabulary(tokenizer, size, ends); }, {});
}

constexpr std::chrono::milliseconds kDrainPoll{5};

Result<ContextPtr> make_context(ApiConfig config, Engine& engine, const text::Tokenizer& tokenizer,
                                const text::ChatTemplate* chat_template) {
  const int32_t total = engine.limits().max_total_tokens;
  if (config.max_input_length == 0) config.max_input_length = total - 1;
  if (config.max_input_length < 1 || config.max_input_length >= total) {
    return invalid(fmt::format("max_input_length must be at least 1 and less than max_total_tokens ({}). Given: {}",
                               total, config.max_input_length));
  }
  if (config.max_best_of < 1 || config.max_choices < 1)
    return invalid("max_best_of and max_choices must be at least 1");
  std::vector<std::string> names{config.model_id};
  names.insert(names.end(), config.model_aliases.begin(), config.model_aliases.end());
  auto context = std::make_shared<ApiContext>(std::move(names), config.adapter_directory, config.catalog);
  context->resolver = std::make_unique<AdapterResolver>(config.adapter_sources);
  context->config = std::move(config);
  context->engine = &engine;
  context->tokenizer = &tokenizer;
  context->chat_template = chat_template;
  if (chat_template != nullptr) context->tools = ToolDialect::of(*chat_template, template_options(context->config));
  context->workers = std::make_shared<net::WorkerPool>(context->config.worker_threads);
  context->grammars = make_compiler(context->config, tokenizer);
  context->started_at = static_cast<int64_t>(std::time(nullptr));
  return context;
}

net::ServerOptions server_options(const ContextPtr& context) {
  const ApiConfig& config = context->config;
  net::ServerOptions options;
  options.host = config.host;
  options.port = config.port;
  options.workers = context->workers;
  options.max_body_bytes = config.max_body_bytes;
  options.idle_timeout = config.idle_timeout;
  options.header_timeout = config.header_timeout;
  options.body_timeout = config.body_timeout;
  options.write_timeout = config.write_timeout;
  options.cors = config.cors;
  options.tls_certificate = config.tls_certificate;
  options.tls_key = config.tls_key;
  options.error_response = http_error_response;
  options.guard = [context](const net::Request& request) { return check_at_the_door(*context, request); };
  options.standing_headers = [](net::Request& request) { return trace_headers(request.headers); };
  // Where the log goes may be slow: not on an I/O thread.
  options.log = [workers = context->workers](const net::Exchanged& exchanged) {
    if (is_logged(exchanged)) workers->post([exchanged] { log_exchange(exchanged); });
  };
  return options;
}

}  // namespace

struct ApiServer::Impl {
  ContextPtr context;
  std::unique_ptr<net::HttpServer> server;
};

Result<std::unique_ptr<ApiServer>> ApiServer::start(ApiConfig config, Engine& engine, const text::Tokenizer& tokenizer,
                                                    const text::ChatTemplate* chat_template) {
  GRAFT_TRY(const ContextPtr context, make_context(std::move(config), engine, tokenizer, chat_template));
  net::Router router;
  add_lorax_generate_routes(router, context);
  add_lorax_info_routes(router, context);
  add_openai_completions_routes(router, context);
  add_openai_chat_routes(router, context);
  add_openai_models_routes(router, context);
  add_lorax_pooled_routes(router, context);
  add_openai_embeddings_routes(router, context);
  add_openapi_routes(router, context);
  auto impl = std::make_unique<Impl>();
  impl->context = context;
  GRAFT_TRY(impl->server, net::HttpServer::start(server_options(context), std::move(router)));
  return std::unique_ptr<ApiServer>(new ApiServer(std::move(impl)));
}

ApiServer::ApiServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ApiServer::~ApiServer() {
  stop();
  impl_->context->grammars->stop();  // before its own threads can be the last to hold the context
}
uint16_t ApiServer::port() const { return impl_->server->port(); }

void ApiServer::stop(std::chrono::milliseconds grace) {
  const auto deadline = std::chrono::steady_clock::now() + grace;
  impl_->context->draining = true;
  const auto left = [&] { return deadline - std::chrono::steady_clock::now(); };
  while (impl_->server->active_requests() > 0 && left().count() > 0) std::this_thread::sleep_for(kDrainPoll);
  impl_->server->stop(std::max(std::chrono::milliseconds(0), std::chrono::floor<std::chrono::milliseconds>(left())));
  impl_->context->resolver->stop();
}

}  // namespace graft::serving::api
