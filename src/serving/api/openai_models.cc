// GET /v1/models and /v1/models/{model}.

#include <algorithm>
#include <utility>

#include "serving/api/api_error.h"
#include "serving/api/json_text.h"
#include "serving/api/routes.h"

namespace graft::serving::api {
namespace {

OrderedJson model_json(const ApiContext& context, const std::string& id, bool base) {
  const OrderedJson parent = base ? OrderedJson(nullptr) : OrderedJson(context.adapters.base_id());
  return {{"id", id},
          {"object", "model"},
          {"created", context.started_at},
          {"owned_by", "graft"},
          {"root", context.adapters.base_id()},
          {"parent", parent}};
}

OrderedJson list_models(const ApiContext& context) {
  OrderedJson data = OrderedJson::array();
  for (const auto& name : context.adapters.base_names()) data.push_back(model_json(context, name, true));
  for (const auto& name : context.adapters.adapters()) data.push_back(model_json(context, name, false));
  return {{"object", "list"}, {"data", std::move(data)}};
}

net::Response one_model(const ApiContext& context, const std::string& id) {
  const auto& bases = context.adapters.base_names();
  const bool base = std::find(bases.begin(), bases.end(), id) != bases.end();
  const auto adapters = context.adapters.adapters();
  if (!base && !std::binary_search(adapters.begin(), adapters.end(), id)) {
    return openai_response({Failure::kNotFound, "the model \"" + id + "\" does not exist", "model", {}});
  }
  return net::Response::json(200, to_text(model_json(context, id, base)));
}

}  // namespace

void add_openai_models_routes(net::Router& router, const ContextPtr& context) {
  router.add("GET", "/v1/models", [context](const net::Request&, const net::ResponseWriter& writer) {
    writer.send(net::Response::json(200, to_text(list_models(*context))));
  });
  router.add("GET", "/v1/models/{model*}", [context](const net::Request& request, const net::ResponseWriter& writer) {
    writer.send(one_model(*context, request.params.at("model")));
  });
}

}  // namespace graft::serving::api
