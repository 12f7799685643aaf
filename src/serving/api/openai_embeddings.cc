// POST /v1/embeddings.

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

#include "base/base64.h"
#include "fmt/format.h"
#include "serving/api/characters.h"
#include "serving/api/openai_prompts.h"
#include "serving/api/pooled_call.h"
#include "serving/api/routes.h"

namespace graft::serving::api {
namespace {

struct Form {
  bool base64 = false;
  size_t dimensions = 0;  // 0: all
  std::string model;
};

// The first `dimensions`, of unit length, as OpenAI's are.
std::vector<float> unit_length(const std::vector<float>& pooled, size_t dimensions) {
  std::vector<float> out = pooled;
  if (dimensions > 0 && dimensions < out.size()) out.resize(dimensions);
  double squares = 0;
  for (const float value : out) squares += static_cast<double>(value) * value;
  const double norm = std::sqrt(squares);
  for (float& value : out) value = static_cast<float>(norm > 0 ? value / norm : 0);
  return out;
}

// Little-endian float32, which is what the openai package decodes.
OrderedJson as_base64(const std::vector<float>& values) {
  std::string bytes;
  for (const float value : values) {
    const auto bits = std::bit_cast<uint32_t>(value);
    for (int shift = 0; shift < 32; shift += 8) bytes.push_back(static_cast<char>(bits >> shift & 0xFF));
  }
  return base64_encode(bytes);
}

OrderedJson embeddings(const Form& form, const std::vector<GenerationResult>& results) {
  OrderedJson data = OrderedJson::array();
  int64_t tokens = 0;
  for (size_t i = 0; i < results.size(); ++i) {
    const std::vector<float> values = unit_length(results[i].pooled, form.dimensions);
    data.push_back(
        {{"object", "embedding"}, {"index", i}, {"embedding", form.base64 ? as_base64(values) : OrderedJson(values)}});
    tokens += results[i].prompt_tokens;
  }
  return {{"object", "list"},
          {"data", std::move(data)},
          {"model", form.model},
          {"usage", {{"prompt_tokens", tokens}, {"total_tokens", tokens}}}};
}

std::optional<ApiError> prepare(PooledCall& call, const Json& body, Form& form) {
  const ApiContext& context = *call.context;
  Fields fields(body);
  const std::string model = fields.text("model").value_or("");
  const std::string source = fields.text("adapter_source").value_or("");
  const std::string token = fields.text("api_token").value_or(call.caller.hub_token);
  const std::string encoding = fields.text("encoding_format").value_or("float");
  if (encoding != "float" && encoding != "base64") fields.fail("encoding_format", "must be \"float\" or \"base64\"");
  const int64_t dimensions = fields.integer("dimensions", 1).value_or(0);
  const Pooling pooling = read_pooling(context, fields);
  if (fields.error()) return fields.error();
  const auto prompts = read_prompts(context, fields, "input", static_cast<size_t>(context.config.max_inputs));
  if (fields.error()) return fields.error();
  auto adapter = context.adapters.resolve(model, source, "model", token);
  if (!adapter.ok()) return adapter.error();
  if (!adapter.value().id.empty()) call.adapter = context.adapters.label(model, source);
  form = {encoding == "base64", static_cast<size_t>(dimensions), model.empty() ? context.adapters.base_id() : model};
  for (const Prompt& prompt : prompts) {
    auto request = pooled_request(context, prompt.ids, pooling, "input");
    if (!request.ok()) return request.error();
    request.value().adapter = adapter.value();
    call.characters += count_characters(prompt.text);
    call.requests.push_back(std::move(request).value());
  }
  return std::nullopt;
}

}  // namespace

void add_openai_embeddings_routes(net::Router& router, const ContextPtr& context) {
  router.add("POST", "/v1/embeddings", [context](const net::Request& request, const net::ResponseWriter& writer) {
    auto call = std::make_shared<PooledCall>(context, writer);
    auto form = std::make_shared<Form>();
    call->refusal = openai_response;
    call->answer = [form](const std::vector<GenerationResult>& results) { return embeddings(*form, results); };
    handle_pooled(call, request, [form](PooledCall& c, const Json& body) { return prepare(c, body, *form); });
  });
}

}  // namespace graft::serving::api
