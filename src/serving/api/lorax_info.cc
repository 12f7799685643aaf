// GET /, /health, /ping, /startup, /info, /metrics and POST /tokenize.

#include <utility>

#include "serving/api/characters.h"
#include "serving/api/fields.h"
#include "serving/api/generation_job.h"
#include "serving/api/prompt.h"
#include "serving/api/routes.h"

namespace graft::serving::api {
namespace {

const ApiError kUnhealthy{Failure::kUnhealthy, "unhealthy", {}, {}};

void health(const ContextPtr& context, const net::ResponseWriter& writer) {
  writer.send(context->engine->healthy() && !context->draining ? net::Response{200, {}, ""}
                                                               : lorax_response(kUnhealthy));
}

// Ready once the model has made a token. An engine too busy to try is ready as well.
void startup(const ContextPtr& context, const net::ResponseWriter& writer) {
  if (!context->engine->healthy()) {
    writer.send(lorax_response(kUnhealthy));
    return;
  }
  GenerationRequest probe;
  probe.prompt = tokenize_raw(*context, "Who?");
  if (probe.prompt.empty()) probe.prompt = {0};
  probe.max_new_tokens = 1;
  GenerationJob::Events events;
  events.on_done = [writer](const std::vector<GenerationResult>&) { writer.send({200, {}, ""}); };
  events.on_error = [writer](const ApiError& error) {
    writer.send(error.failure == Failure::kOverloaded ? net::Response{200, {}, ""} : lorax_response(kUnhealthy));
  };
  GenerationJob::create(context, std::move(events))->submit({std::move(probe)}, writer);
}

OrderedJson info(const ApiContext& context) {
  const ApiConfig& config = context.config;
  const EngineLimits& limits = context.engine->limits();
  const OrderedJson sha = config.model_sha.empty() ? OrderedJson(nullptr) : OrderedJson(config.model_sha);
  return {{"model_id", config.model_id},
          {"model_sha", sha},
          {"model_dtype", config.model_dtype},
          {"model_device_type", config.device_type},
          {"model_pipeline_tag", "text-generation"},
          {"max_concurrent_requests", limits.max_concurrent_requests},
          {"max_best_of", config.max_best_of},
          {"max_stop_sequences", config.max_stop_sequences},
          {"max_input_length", config.max_input_length},
          {"max_total_tokens", limits.max_total_tokens},
          {"waiting_served_ratio", 0},  // prefill and decode share every step: there is nothing to weigh
          {"max_batch_total_tokens", limits.max_step_tokens},
          {"max_waiting_tokens", 0},
          {"validation_workers", config.worker_threads},
          {"eager_prefill", true},
          {"version", config.version},
          {"sha", nullptr},
          {"docker_label", nullptr},
          {"request_logger_url", nullptr}};
}

void metrics(const ContextPtr& context, const net::ResponseWriter& writer) {
  net::Response response{200, {}, context->metrics.expose(context->engine->stats(), context->config.adapter_directory)};
  response.headers.add("Content-Type", std::string(net::MetricsRegistry::content_type()));
  writer.send(std::move(response));
}

// Offsets count characters, as `tokenizers` reports them to its users.
ApiResult<OrderedJson> tokenize(const ApiContext& context, const std::string& body) {
  GRAFT_TRY(const Json json, parse_body(body));
  Fields fields(json);
  const auto inputs = fields.text("inputs");
  const bool add_special_tokens = fields.any("add_special_tokens") == nullptr || fields.flag("add_special_tokens");
  if (!inputs) fields.fail("inputs", "is missing");
  if (fields.error()) return *fields.error();
  const auto encoding = context.tokenizer->encode(*inputs, {.add_special_tokens = add_special_tokens});

  std::vector<size_t> begun(inputs->size() + 1);  // characters that begin before each byte
  for (size_t i = 0; i < inputs->size(); ++i) begun[i + 1] = begun[i] + (begins_character((*inputs)[i]) ? 1 : 0);
  OrderedJson tokens = OrderedJson::array();
  for (size_t i = 0; i < encoding.ids.size(); ++i) {
    const auto [begin, end] = encoding.offsets[i];
    // A token that is part of a character covers all of it.
    const size_t start = begin < end ? begun[begin + 1] - 1 : begun[begin];
    tokens.push_back({{"id", encoding.ids[i]},
                      {"text", context.tokenizer->id_to_token(encoding.ids[i])},
                      {"start", start},
                      {"stop", begun[end]}});
  }
  return tokens;
}

}  // namespace

void add_lorax_info_routes(net::Router& router, const ContextPtr& context) {
  const auto health_route = [context](const net::Request&, const net::ResponseWriter& w) { health(context, w); };
  router.add("GET", "/", health_route);
  router.add("GET", "/health", health_route);
  router.add("GET", "/ping", health_route);
  router.add("GET", "/startup", [context](const net::Request&, const net::ResponseWriter& w) { startup(context, w); });
  router.add("GET", "/info", [context](const net::Request&, const net::ResponseWriter& w) {
    w.send(net::Response::json(200, to_text(info(*context))));
  });
  router.add("GET", "/metrics", [context](const net::Request&, const net::ResponseWriter& w) { metrics(context, w); });
  router.add("POST", "/tokenize", [context](const net::Request& request, const net::ResponseWriter& w) {
    const auto tokens = tokenize(*context, request.body);
    w.send(tokens.ok() ? net::Response::json(200, to_text(tokens.value())) : lorax_response(tokens.error()));
  });
}

}  // namespace graft::serving::api
