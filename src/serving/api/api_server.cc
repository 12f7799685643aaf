#include "serving/api/api_server.h"

#include <algorithm>
#include <ctime>
#include <utility>

#include "fmt/format.h"
#include "net/http_server.h"
#include "serving/api/api_error.h"
#include "serving/api/prompt.h"
#include "serving/api/routes.h"

namespace graft::serving::api {
namespace {

// Grammars are compiled for the ids of the engine's model, on a thread of their own.
std::unique_ptr<grammar::Compiler> make_compiler(const ApiConfig& config, const text::Tokenizer& tokenizer) {
  const int64_t size = std::max<int64_t>(config.vocab_size, tokenizer.vocab_size());
  return grammar::Compiler::create(
      [&tokenizer, size, ends = config.eos_token_ids] { return grammar::make_vocabulary(tokenizer, size, ends); }, {});
}

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
  auto context = std::make_shared<ApiContext>(std::move(names), config.adapter_directory);
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

net::ServerOptions server_options(const ApiContext& context) {
  net::ServerOptions options;
  options.host = context.config.host;
  options.port = context.config.port;
  options.workers = context.workers;
  options.max_body_bytes = context.config.max_body_bytes;
  options.cors_allow_origins = context.config.cors_allow_origins;
  options.error_response = http_error_response;
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
  auto impl = std::make_unique<Impl>();
  impl->context = context;
  GRAFT_TRY(impl->server, net::HttpServer::start(server_options(*context), std::move(router)));
  return std::unique_ptr<ApiServer>(new ApiServer(std::move(impl)));
}

ApiServer::ApiServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ApiServer::~ApiServer() {
  stop();
  impl_->context->grammars->stop();  // before its own threads can be the last to hold the context
}
uint16_t ApiServer::port() const { return impl_->server->port(); }
void ApiServer::stop(std::chrono::milliseconds grace) { impl_->server->stop(grace); }

}  // namespace graft::serving::api
