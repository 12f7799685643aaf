#include "serving/api/openapi.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace graft::serving::api {
namespace {

enum class Family { kLorax, kOpenAi, kPlain };  // the form of errors; kPlain: there are none but the server's own

struct RouteDoc {
  std::string_view method, pattern, tag, summary;
  std::string_view request;  // a schema's name; empty: no body
  std::string_view answer;   // likewise; empty: no body; "text": plain text
  bool streams = false;      // where the body asks for it, or always for generate_stream
  Family family = Family::kLorax;
};

constexpr std::array<RouteDoc, 22> kRoutes{{
    {"POST", "/", "LoRAX", "Generate; a stream where the body says so", "GenerateRequest", "GenerateResponses", true},
    {"POST", "/invocations", "LoRAX", "The same as POST /", "GenerateRequest", "GenerateResponses", true},
    {"POST", "/generate", "LoRAX", "Generate", "GenerateRequest", "GenerateResponse"},
    {"POST", "/generate_stream", "LoRAX", "Generate, as server-sent events", "GenerateRequest", "", true},
    {"POST", "/tokenize", "LoRAX", "Token ids, texts and places", "TokenizeRequest", "Tokens"},
    {"POST", "/v1/completions", "OpenAI", "Complete prompts", "CompletionRequest", "Completion", true, Family::kOpenAi},
    {"POST", "/v1/chat/completions", "OpenAI", "Answer a conversation", "ChatRequest", "ChatCompletion", true,
     Family::kOpenAi},
    {"GET", "/v1/models", "OpenAI", "The base model and its adapters", "", "Models", false, Family::kOpenAi},
    {"GET", "/v1/models/{model*}", "OpenAI", "One of them", "", "Model", false, Family::kOpenAi},
    {"GET", "/", "Operation", "Whether the model answers", "", "", false},
    {"GET", "/health", "Operation", "Whether the model answers", "", "", false},
    {"GET", "/ping", "Operation", "The same", "", "", false},
    {"GET", "/startup", "Operation", "Whether the model has made a token", "", "", false},
    {"GET", "/info", "Operation", "Model and limits", "", "Info", false, Family::kPlain},
    {"GET", "/metrics", "Operation", "Metrics in Prometheus' text format", "", "text", false, Family::kPlain},
    {"GET", "/openapi.json", "Operation", "This description", "", "Description", false, Family::kPlain},
    {"GET", "/api-doc/openapi.json", "Operation", "This description", "", "Description", false, Family::kPlain},
    {"GET", "/docs", "Operation", "This description as a page", "", "html", false, Family::kPlain},
    {"POST", "/embed", "LoRAX", "Embed a text", "EmbedRequest", "Embedding"},
    {"POST", "/classify", "LoRAX", "Classify a text, or its tokens", "ClassifyRequest", "Classes"},
    {"POST", "/classify_batch", "LoRAX", "Classify texts", "ClassifyBatchRequest", "ClassesOfMany"},
    {"POST", "/v1/embeddings", "OpenAI", "Embed texts", "EmbeddingsRequest", "Embeddings", false, Family::kOpenAi},
}};

const RouteDoc* find_doc(const std::string& method, const std::string& pattern) {
  const auto found = std::ranges::find_if(
      kRoutes, [&](const RouteDoc& doc) { return doc.method == method && doc.pattern == pattern; });
  return found == kRoutes.end() ? nullptr : &*found;
}

OrderedJson reference(std::string_view name) { return {{"$ref", "#/components/schemas/" + std::string(name)}}; }

OrderedJson content(std::string_view type, OrderedJson schema) {
  return {{std::string(type), {{"schema", std::move(schema)}}}};
}

OrderedJson good_answer(const RouteDoc& doc) {
  OrderedJson answer{{"description", "Done"}};
  OrderedJson types = OrderedJson::object();
  if (doc.answer == "text") {
    types.update(content("text/plain", {{"type", "string"}}));
  } else if (doc.answer == "html") {
    types.update(content("text/html", {{"type", "string"}}));
  } else if (!doc.answer.empty()) {
    types.update(content("application/json", reference(doc.answer)));
  }
  if (doc.streams) types["text/event-stream"] = OrderedJson::object();
  if (!types.empty()) answer["content"] = std::move(types);
  return answer;
}

struct Status {
  const char* code;
  const char* meaning;
};

// What can go wrong with a route, as api_error.cc has it.
std::vector<Status> failures(const RouteDoc& doc) {
  std::vector<Status> list{{"401", "No valid API key"}, {"503", "Stopping, or the model does not answer"}};
  if (doc.pattern.starts_with("/v1/models/")) list.push_back({"404", "No such model"});
  if (doc.request.empty()) return list;
  list.push_back({"400", "Not a valid request"});
  list.push_back({"413", "The body is too large"});
  if (doc.family == Family::kLorax) list.push_back({"422", "A field is missing, of the wrong type or out of range"});
  if (doc.pattern == "/tokenize") return list;
  if (doc.family == Family::kLorax) list.push_back({"424", "The generation failed"});
  if (doc.family == Family::kOpenAi) list.push_back({"404", "No such model or adapter"});
  list.push_back({"429", "Overloaded: see Retry-After"});
  list.push_back({"500", "The generation failed"});
  list.push_back({"504", "Its time was up before the first token"});
  return list;
}

OrderedJson operation(const RouteDoc& doc) {
  OrderedJson out{{"tags", {doc.tag}}, {"summary", doc.summary}};
  if (doc.pattern.find('{') != std::string_view::npos) {
    out["parameters"] = {{{"name", "model"}, {"in", "path"}, {"required", true}, {"schema", {{"type", "string"}}}}};
  }
  if (!doc.request.empty()) {
    out["requestBody"] = {{"required", true}, {"content", content("application/json", reference(doc.request))}};
  }
  out["responses"]["200"] = good_answer(doc);
  const char* error = doc.family == Family::kOpenAi ? "OpenAiError" : "LoraxError";
  for (const auto& [code, meaning] : failures(doc)) {
    out["responses"][code] = {{"description", meaning}, {"content", content("application/json", reference(error))}};
  }
  return out;
}

std::string path_of(std::string pattern) {  // "{rest*}" is "{rest}" in OpenAPI
  std::erase(pattern, '*');
  return pattern;
}

}  // namespace

RouteList undocumented(const RouteList& routes) {
  RouteList missing;
  for (const auto& [method, pattern] : routes) {
    if (find_doc(method, pattern) == nullptr) missing.emplace_back(method, pattern);
  }
  return missing;
}

OrderedJson openapi_document(const RouteList& routes, const std::string& version) {
  OrderedJson paths = OrderedJson::object();
  for (const auto& [method, pattern] : routes) {
    const RouteDoc* doc = find_doc(method, pattern);
    if (doc == nullptr) continue;
    std::string verb = method;
    std::ranges::transform(verb, verb.begin(), [](char c) { return static_cast<char>(c | 0x20); });
    paths[path_of(pattern)][verb] = operation(*doc);
  }
  OrderedJson document{{"openapi", "3.1.0"},
                       {"info",
                        {{"title", "graft"},
                         {"version", version.empty() ? "0" : version},
                         {"description",
                          "Text generation with a base model and its adapters: LoRAX's and OpenAI's "
                          "routes. See docs/http-api.md."}}},
                       {"paths", std::move(paths)}};
  document["components"]["schemas"] = openapi_schemas();
  document["components"]["securitySchemes"]["key"] = {{"type", "http"}, {"scheme", "bearer"}};
  document["security"] = {OrderedJson::object(), {{"key", OrderedJson::array()}}};
  return document;
}

}  // namespace graft::serving::api
