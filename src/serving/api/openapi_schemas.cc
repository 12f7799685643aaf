// The bodies of requests and answers. Requests allow further fields: unknown ones are ignored, as LoRAX does.

#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "serving/api/openapi.h"

namespace graft::serving::api {
namespace {

using Properties = std::vector<std::pair<std::string, OrderedJson>>;

OrderedJson typed(const char* type, const char* description = "") {
  OrderedJson schema{{"type", {type, "null"}}};
  if (*description != '\0') schema["description"] = description;
  return schema;
}

OrderedJson within(OrderedJson schema, double min, double max) {
  schema["minimum"] = min;
  schema["maximum"] = max;
  return schema;
}

OrderedJson above_zero(OrderedJson schema) {
  schema["exclusiveMinimum"] = 0;
  return schema;
}

OrderedJson counted(int64_t min, int64_t max, const char* description = "") {
  OrderedJson schema = typed("integer", description);
  schema["minimum"] = min;
  schema["maximum"] = max;
  return schema;
}

OrderedJson array_of(OrderedJson items) { return {{"type", "array"}, {"items", std::move(items)}}; }
OrderedJson text() { return {{"type", "string"}}; }
OrderedJson integer() { return {{"type", "integer"}}; }
OrderedJson nullable_array(OrderedJson items) { return {{"type", {"array", "null"}}, {"items", std::move(items)}}; }

OrderedJson object(const Properties& properties, const std::vector<std::string>& required = {}) {
  OrderedJson schema{{"type", "object"}, {"properties", OrderedJson::object()}};
  for (const auto& [name, property] : properties) schema["properties"][name] = property;
  if (!required.empty()) schema["required"] = required;
  return schema;
}

constexpr int64_t kMaxInt = std::numeric_limits<int32_t>::max();

OrderedJson nullable(OrderedJson schema) { return {{"anyOf", {std::move(schema), {{"type", "null"}}}}}; }

OrderedJson merged_adapters() {
  return nullable(object({{"ids", array_of(text())},
                          {"weights", array_of({{"type", "number"}})},
                          {"merge_strategy", {{"enum", {"linear", "cat", "ties", "dare_linear", "dare_ties"}}}},
                          {"density", within(typed("number"), 0, 1)},
                          {"majority_sign_method", {{"enum", {"total", "frequency"}}}}},
                         {"ids", "weights"}));
}

OrderedJson native_format() {
  return nullable(object({{"type", {{"enum", {"text", "json_object", "json_schema", "regex", "grammar"}}}},
                          {"schema", {{"description", "JSON schema, regular expression or grammar"}}}},
                         {"type"}));
}

OrderedJson openai_format() {
  OrderedJson schema =
      object({{"name", text()}, {"strict", typed("boolean")}, {"schema", {{"type", "object"}}}}, {"schema"});
  return nullable(
      object({{"type", {{"enum", {"text", "json_object", "json_schema"}}}}, {"json_schema", schema}}, {"type"}));
}

OrderedJson tools() {
  OrderedJson function = object(
      {{"name", text()}, {"description", typed("string")}, {"parameters", {{"type", {"object", "null"}}}}}, {"name"});
  return nullable_array(
      object({{"type", {{"const", "function"}}}, {"function", std::move(function)}}, {"type", "function"}));
}

OrderedJson generate_parameters() {
  OrderedJson schema = object({
      {"adapter_id", typed("string", "An adapter; empty: the base model")},
      {"adapter_source", typed("string", "Where it is: local, hub, s3, pbase")},
      {"api_token", typed("string", "For the adapter's source")},
      {"best_of", counted(1, 2, "Generate so many and answer the likeliest")},
      {"temperature", within(typed("number", "0: greedy"), 0, 100)},
      {"repetition_penalty", above_zero(typed("number"))},
      {"frequency_penalty", within(typed("number"), -2, 2)},
      {"presence_penalty", within(typed("number"), -2, 2)},
      {"top_k", counted(1, kMaxInt)},
      {"top_p", within(above_zero(typed("number")), 0, 1)},
      {"typical_p", within(above_zero(typed("number")), 0, 0.999)},
      {"do_sample", typed("boolean")},
      {"max_new_tokens", counted(1, kMaxInt, "All that fits where absent")},
      {"max_time", above_zero(typed("number", "Seconds after which it ends with what it has"))},
      {"return_full_text", typed("boolean", "The prompt before the output")},
      {"stop", nullable_array(text())},
      {"truncate", counted(1, kMaxInt, "Keep the last tokens of the prompt only")},
      {"watermark", typed("boolean", "Not supported")},
      {"details", typed("boolean")},
      {"decoder_input_details", typed("boolean", "The prompt's tokens and logprobs")},
      {"return_k_alternatives", counted(1, 100)},
      {"apply_chat_template", typed("boolean")},
      {"ignore_eos_token", typed("boolean")},
      {"seed", typed("integer")},
      {"merged_adapters", merged_adapters()},
      {"response_format", native_format()},
  });
  schema["type"] = {"object", "null"};
  schema["properties"]["seed"]["minimum"] = 0;
  schema["properties"]["stop"]["maxItems"] = 4;
  return schema;
}

Properties openai_fields() {
  OrderedJson stop{{"anyOf", {text(), array_of(text()), {{"type", "null"}}}}};
  OrderedJson bias{{"type", {"object", "null"}}, {"additionalProperties", {{"type", "number"}}}};
  OrderedJson stream_options = object({{"include_usage", typed("boolean")}});
  stream_options["type"] = {"object", "null"};
  return {
      {"model", typed("string", "An adapter, or the base model: its id or empty")},
      {"max_tokens", counted(0, kMaxInt)},
      {"max_completion_tokens", counted(0, kMaxInt)},
      {"temperature", within(typed("number"), 0, 2)},
      {"top_p", within(typed("number"), 0, 1)},
      {"top_k", counted(1, kMaxInt)},
      {"frequency_penalty", within(typed("number"), -2, 2)},
      {"presence_penalty", within(typed("number"), -2, 2)},
      {"repetition_penalty", above_zero(typed("number"))},
      {"n", counted(1, 16)},
      {"stop", std::move(stop)},
      {"stream", typed("boolean")},
      {"stream_options", std::move(stream_options)},
      {"seed", typed("integer")},
      {"logit_bias", std::move(bias)},
      {"ignore_eos_token", typed("boolean")},
      {"adapter_source", typed("string")},
      {"api_token", typed("string")},
      {"max_time", above_zero(typed("number", "Seconds after which it ends with what it has"))},
  };
}

OrderedJson completion_request() {
  Properties fields = openai_fields();
  const OrderedJson ids = array_of({{"type", "integer"}, {"minimum", 0}});
  fields.insert(fields.begin(), {"prompt", {{"anyOf", {text(), array_of(text()), ids, array_of(ids)}}}});
  fields.emplace_back("best_of", counted(1, 16));
  fields.emplace_back("logprobs", counted(0, 5));
  fields.emplace_back("echo", typed("boolean"));
  fields.emplace_back("suffix", typed("string", "Not supported"));
  return object(fields, {"prompt"});
}

OrderedJson chat_request() {
  Properties fields = openai_fields();
  OrderedJson part = object({{"type", text()}, {"text", text()}}, {"type"});
  OrderedJson contents{{"anyOf", {text(), array_of(part), {{"type", "null"}}}}};
  OrderedJson messages = array_of(object({{"role", text()}, {"content", contents}}, {"role"}));
  messages["minItems"] = 1;
  fields.insert(fields.begin(), {"messages", std::move(messages)});
  fields.emplace_back("logprobs", typed("boolean"));
  fields.emplace_back("top_logprobs", counted(0, 20));
  fields.emplace_back("response_format", openai_format());
  fields.emplace_back("tools", tools());
  fields.emplace_back("tool_choice", OrderedJson{{"description", "none, auto, required, or one function by name"}});
  return object(fields, {"messages"});
}

OrderedJson answer_of(const char* object_name, OrderedJson choice) {
  const OrderedJson usage =
      object({{"prompt_tokens", integer()}, {"completion_tokens", integer()}, {"total_tokens", integer()}},
             {"prompt_tokens", "completion_tokens", "total_tokens"});
  return object({{"id", text()},
                 {"object", {{"const", object_name}}},
                 {"created", integer()},
                 {"model", text()},
                 {"choices", array_of(std::move(choice))},
                 {"usage", usage}},
                {"id", "object", "created", "model", "choices", "usage"});
}

OrderedJson model() {
  return object({{"id", text()}, {"object", {{"const", "model"}}}, {"created", integer()}, {"owned_by", text()}},
                {"id", "object", "created", "owned_by"});
}

OrderedJson info() {
  Properties fields;
  std::vector<std::string> required;
  for (const char* name : {"model_id", "model_dtype", "model_device_type", "version"})
    fields.emplace_back(name, text());
  for (const char* name : {"max_concurrent_requests", "max_best_of", "max_stop_sequences", "max_input_length",
                           "max_total_tokens", "max_batch_total_tokens", "validation_workers"}) {
    fields.emplace_back(name, integer());
  }
  for (const auto& [name, schema] : fields) required.push_back(name);
  return object(fields, required);
}

}  // namespace

OrderedJson openapi_schemas() {
  const OrderedJson finish{{"type", "string"}};
  const OrderedJson details{{"type", {"object", "null"}}};
  OrderedJson schemas;
  schemas["GenerateParameters"] = generate_parameters();
  schemas["GenerateRequest"] = object({{"inputs", {{"type", "string"}, {"minLength", 1}}},
                                       {"parameters", {{"$ref", "#/components/schemas/GenerateParameters"}}},
                                       {"stream", typed("boolean", "Of POST / and /invocations")}},
                                      {"inputs"});
  schemas["GenerateResponse"] = object({{"generated_text", text()}, {"details", details}}, {"generated_text"});
  schemas["GenerateResponses"] = array_of({{"$ref", "#/components/schemas/GenerateResponse"}});
  schemas["TokenizeRequest"] = object({{"inputs", text()}, {"add_special_tokens", typed("boolean")}}, {"inputs"});
  schemas["Tokens"] = array_of(object({{"id", integer()}, {"text", text()}, {"start", integer()}, {"stop", integer()}},
                                      {"id", "text", "start", "stop"}));
  const OrderedJson adapter = object(
      {{"adapter_id", typed("string")}, {"adapter_source", typed("string")}, {"api_token", typed("string")}}, {});
  const OrderedJson pooling{{"enum", {"mean", "last", nullptr}}};
  schemas["EmbedRequest"] = object(
      {{"inputs", {{"type", "string"}, {"minLength", 1}}}, {"parameters", adapter}, {"pooling", pooling}}, {"inputs"});
  schemas["ClassifyRequest"] =
      object({{"inputs", {{"type", "string"}, {"minLength", 1}}}, {"parameters", adapter}}, {"inputs"});
  schemas["ClassifyBatchRequest"] = object({{"inputs", array_of(text())}, {"parameters", adapter}}, {"inputs"});
  const OrderedJson classes = array_of(object({{"entity_group", text()},
                                               {"score", {{"type", "number"}}},
                                               {"word", text()},
                                               {"start", integer()},
                                               {"end", integer()}},
                                              {"entity_group", "score", "word", "start", "end"}));
  schemas["Classes"] = classes;
  schemas["ClassesOfMany"] = array_of(classes);
  schemas["Embedding"] = object({{"embeddings", array_of({{"type", "number"}})}}, {"embeddings"});
  schemas["EmbeddingsRequest"] = object({{"input", OrderedJson::object()},
                                         {"model", typed("string")},
                                         {"encoding_format", {{"enum", {"float", "base64", nullptr}}}},
                                         {"dimensions", {{"type", {"integer", "null"}}, {"minimum", 1}}},
                                         {"pooling", pooling}},
                                        {"input"});
  schemas["Embeddings"] =
      object({{"object", {{"const", "list"}}},
              {"data", array_of(object({{"object", text()}, {"index", integer()}, {"embedding", OrderedJson::object()}},
                                       {"object", "index", "embedding"}))},
              {"model", text()}},
             {"object", "data", "model"});
  schemas["CompletionRequest"] = completion_request();
  schemas["Completion"] = answer_of(
      "text_completion",
      object({{"index", integer()}, {"text", text()}, {"finish_reason", finish}}, {"index", "text", "finish_reason"}));
  schemas["ChatRequest"] = chat_request();
  schemas["ChatCompletion"] = answer_of(
      "chat.completion", object({{"index", integer()}, {"message", {{"type", "object"}}}, {"finish_reason", finish}},
                                {"index", "message", "finish_reason"}));
  schemas["Model"] = model();
  schemas["Models"] = object({{"object", {{"const", "list"}}}, {"data", array_of(model())}}, {"object", "data"});
  schemas["Info"] = info();
  schemas["Description"] = {{"type", "object"}};
  schemas["Anything"] = OrderedJson::object();
  schemas["LoraxError"] = object({{"error", text()}, {"error_type", text()}}, {"error", "error_type"});
  schemas["OpenAiError"] = object({{"error", object({{"message", text()},
                                                     {"type", text()},
                                                     {"param", {{"type", {"string", "null"}}}},
                                                     {"code", {{"type", {"string", "null"}}}}},
                                                    {"message", "type", "param", "code"})}},
                                  {"error"});
  return schemas;
}

}  // namespace graft::serving::api
