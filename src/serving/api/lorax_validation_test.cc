// Every rule of the native parameters, in LoRAX's words.

#include <gmock/gmock.h>

#include "serving/api/testing/api_test.h"

namespace graft::serving::api {
namespace {

using ::testing::HasSubstr;

struct Rule {
  const char* parameters;
  const char* message;  // after "Input validation error: "
};

class LoraxRules : public testing::ApiTest, public ::testing::WithParamInterface<Rule> {};

TEST_P(LoraxRules, AreEnforcedInLoraxWords) {
  const auto answer = generate(OrderedJson::parse(GetParam().parameters));
  EXPECT_EQ(answer.status, 422);
  EXPECT_EQ(answer.json["error"], std::string("Input validation error: ") + GetParam().message);
  EXPECT_EQ(answer.json["error_type"], "validation");
  EXPECT_EQ(answer.json.size(), 2U);
  EXPECT_TRUE(engine_->submitted().empty());
}

// Each rule is kept by streams too, where it is said in the stream; the server goes on.
TEST_P(LoraxRules, RefusesInTheStreamAsWell) {
  const auto answer =
      send("POST", "/generate_stream", std::string(R"({"inputs":"hello","parameters":)") + GetParam().parameters + "}");
  EXPECT_NE(answer.body.find("error_type"), std::string::npos) << answer.body;
  EXPECT_TRUE(engine_->submitted().empty());
  EXPECT_EQ(get("/health").status, 200);
}

INSTANTIATE_TEST_SUITE_P(
    Parameters, LoraxRules,
    ::testing::Values(
        Rule{R"({"adapter_id":"a","merged_adapters":{"ids":["b"],"weights":[1]}})",
             "at most one of `adapter_id` or `adapters` may be provided"},
        Rule{R"({"merged_adapters":{"ids":[],"weights":[]}})",
             "at least one adapter ID must be provided when setting `adapters`"},
        Rule{R"({"merged_adapters":{"ids":["a","b"],"weights":[1]}})",
             "number of adapter IDs must match number of adapter weights"},
        Rule{R"({"merged_adapters":{"ids":["a"],"weights":[1]}})",
             "`merged_adapters` is not available: this server keeps no cache"},
        Rule{R"({"merged_adapters":{"ids":["a",""],"weights":[1,1]}})", "`adapters` must not name the base model"},
        Rule{R"({"merged_adapters":{"ids":["a","b"],"weights":[1,1],"merge_strategy":"ties"}})",
             "`density` must be > 0.0 and <= 1.0 for merge_strategy ties"},
        Rule{R"({"merged_adapters":{"ids":["a","b"],"weights":[1,1],"merge_strategy":"dare_ties","density":0}})",
             "`density` must be > 0.0 and <= 1.0 for merge_strategy dare_ties"},
        Rule{R"({"merged_adapters":{"ids":["a"],"weights":[1],"merge_strategy":"magic"}})",
             "`parameters.merged_adapters.merge_strategy` must be one of linear, cat, ties, dare_linear, dare_ties"},
        Rule{R"({"merged_adapters":{"ids":["a"],"weights":[1],"majority_sign_method":"magic"}})",
             "`parameters.merged_adapters.majority_sign_method` must be one of total, frequency"},
        Rule{R"({"merged_adapters":{"ids":["a"],"weights":[1],"density":2}})",
             "`parameters.merged_adapters.density` must be >= 0.0 and <= 1.0"},
        Rule{R"({"merged_adapters":{"ids":["a"],"weights":["1"]}})",
             "`parameters.merged_adapters.weights` must be an array of numbers"},
        Rule{R"({"best_of":0})", "`best_of` must be > 0 and <= 2. Given: 0"},
        Rule{R"({"best_of":3,"do_sample":true})", "`best_of` must be > 0 and <= 2. Given: 3"},
        Rule{R"({"best_of":2})", "you must use sampling when `best_of` is > 1"},
        Rule{R"({"best_of":2,"do_sample":true,"seed":1})", "`seed` must not be set when `best_of` > 1"},
        Rule{R"({"temperature":-0.1})", "`temperature` must be non-negative"},
        Rule{R"({"repetition_penalty":0})", "`repetition_penalty` must be strictly positive"},
        Rule{R"({"frequency_penalty":2.5})", "`frequency_penalty` must be >= -2.0 and <= 2.0"},
        Rule{R"({"presence_penalty":-2.5})", "`presence_penalty` must be >= -2.0 and <= 2.0"},
        Rule{R"({"top_k":0})", "`top_k` must be strictly positive"},
        Rule{R"({"top_k":-3})", "`top_k` must be strictly positive"},
        Rule{R"({"return_k_alternatives":0})", "`return_k_alternatives` must be strictly positive"},
        Rule{R"({"return_k_alternatives":1000})", "`return_k_alternatives` must be <= 100. Given: 1000"},
        Rule{R"({"top_p":0})", "`top_p` must be > 0.0 and < 1.0"},
        Rule{R"({"top_p":1.01})", "`top_p` must be > 0.0 and < 1.0"},
        Rule{R"({"typical_p":0})", "`typical_p` must be > 0.0 and < 1.0"},
        Rule{R"({"typical_p":1})", "`typical_p` must be > 0.0 and < 1.0"},
        Rule{R"({"watermark":true})", "`watermark` is not supported"},
        Rule{R"({"max_new_tokens":0})", "`max_new_tokens` must be strictly positive"},
        Rule{R"({"max_new_tokens":-1})", "`max_new_tokens` must be strictly positive"},
        Rule{R"({"max_new_tokens":512})",
             "`inputs` tokens + `max_new_tokens` must be <= 512. Given: 1 `inputs` tokens "
             "and 512 `max_new_tokens`"},
        Rule{R"({"stop":["a","b","c","d","e"]})", "`stop` supports up to 4 stop sequences. Given: 5"},
        Rule{R"({"stop":[""]})", "`stop` cannot hold an empty stop sequence"},
        Rule{R"({"truncate":0})", "`truncate` must be strictly positive and less than 511. Given: 0"},
        Rule{R"({"truncate":512})", "`truncate` must be strictly positive and less than 511. Given: 512"},
        Rule{R"({"response_format":{"type":"json_schema","schema":{"properties":{"a":{"type":"text"}}}}})",
             "`response_format`: the schema at #/properties/a: `type` \"text\" is none of object, array, string, "
             "number, integer, boolean, null"},
        Rule{R"({"response_format":{"type":"json_schema","schema":7}})",
             "`parameters.response_format.schema` must be a JSON Schema"},
        Rule{R"({"response_format":{"type":"regex"}})", "`parameters.response_format.pattern` must be a string"},
        Rule{R"({"response_format":{"type":"regex","pattern":"("}})",
             "`response_format`: `(` without `)` in the regular expression \"(\", at character 2"},
        Rule{R"({"response_format":{"type":"yaml"}})",
             "`parameters.response_format.type` must be one of text, json_object, json_schema, regex, grammar"},
        Rule{R"({"adapter_id":"a","adapter_source":"moon"})",
             "`adapter_source` must be one of hub, local, s3. Given: moon"},
        Rule{R"({"adapter_id":"a/b","adapter_source":"hub"})", "`adapter_source` hub is not available on this server"},
        Rule{R"({"adapter_id":"a","adapter_source":"hub"})",
             "`parameters.adapter_id` must be \"org/name\" or \"org/name@revision\" for the source hub. Given: a"},
        Rule{R"({"adapter_id":"s3://b/a?endpoint_override=evil"})",
             "`parameters.adapter_id` must be s3://, gs:// or abfs:// with a bucket and a folder for the source s3, "
             "without "
             "a query. Given: s3://b/a?endpoint_override=evil"},
        Rule{R"({"adapter_id":"a/b","adapter_source":"hub","api_token":"a\nb"})",
             "`api_token` must be printable ASCII without spaces"},
        Rule{R"({"adapter_id":"a","adapter_source":"pbase"})",
             "`adapter_source` \"pbase\" is Predibase's own service, which this server cannot ask; give the adapter "
             "with the "
             "source hub, s3 or local"},
        Rule{R"({"adapter_id":"a\u0000b"})",
             "`parameters.adapter_id` must be at most 4096 bytes long and free of control characters"}));

INSTANTIATE_TEST_SUITE_P(
    Types, LoraxRules,
    ::testing::Values(
        Rule{R"({"adapter_id":1})", "`parameters.adapter_id` must be a string, not an integer"},
        Rule{R"({"adapter_source":[]})", "`parameters.adapter_source` must be a string, not an array"},
        Rule{R"({"api_token":{}})", "`parameters.api_token` must be a string, not an object"},
        Rule{R"({"merged_adapters":"a"})", "`parameters.merged_adapters` must be an object, not a string"},
        Rule{R"({"best_of":1.5})", "`parameters.best_of` must be an integer, not a number with a fraction or exponent"},
        Rule{R"({"temperature":"hot"})", "`parameters.temperature` must be a number, not a string"},
        Rule{R"({"repetition_penalty":true})", "`parameters.repetition_penalty` must be a number, not a boolean"},
        Rule{R"({"frequency_penalty":"0"})", "`parameters.frequency_penalty` must be a number, not a string"},
        Rule{R"({"presence_penalty":"0"})", "`parameters.presence_penalty` must be a number, not a string"},
        Rule{R"({"top_k":"5"})", "`parameters.top_k` must be an integer, not a string"},
        Rule{R"({"top_k":99999999999})", "`parameters.top_k` must be <= 2147483647. Given: 99999999999"},
        Rule{R"({"top_p":"1"})", "`parameters.top_p` must be a number, not a string"},
        Rule{R"({"typical_p":"1"})", "`parameters.typical_p` must be a number, not a string"},
        Rule{R"({"do_sample":1})", "`parameters.do_sample` must be a boolean, not an integer"},
        Rule{R"({"watermark":"yes"})", "`parameters.watermark` must be a boolean, not a string"},
        Rule{R"({"ignore_eos_token":0})", "`parameters.ignore_eos_token` must be a boolean, not an integer"},
        Rule{R"({"details":"true"})", "`parameters.details` must be a boolean, not a string"},
        Rule{R"({"decoder_input_details":1})", "`parameters.decoder_input_details` must be a boolean, not an integer"},
        Rule{R"({"return_full_text":"no"})", "`parameters.return_full_text` must be a boolean, not a string"},
        Rule{R"({"apply_chat_template":[]})", "`parameters.apply_chat_template` must be a boolean, not an array"},
        Rule{R"({"max_new_tokens":18446744073709551615})",
             "`parameters.max_new_tokens` must be <= 4294967295. Given: 18446744073709551615"},
        Rule{R"({"max_new_tokens":"20"})", "`parameters.max_new_tokens` must be an integer, not a string"},
        Rule{R"({"stop":"a"})", "`parameters.stop` must be an array, not a string"},
        Rule{R"({"stop":["a",1]})", "`parameters.stop` must be an array of strings, but item 1 is an integer"},
        Rule{R"({"truncate":"5"})", "`parameters.truncate` must be an integer, not a string"},
        Rule{R"({"return_k_alternatives":"5"})", "`parameters.return_k_alternatives` must be an integer, not a string"},
        Rule{R"({"seed":-1})", "`parameters.seed` must be >= 0. Given: -1"},
        Rule{R"({"seed":1e3})", "`parameters.seed` must be an integer, not a number with a fraction or exponent"},
        Rule{R"({"response_format":"json"})", "`parameters.response_format` must be an object, not a string"}));

using LoraxBodies = testing::ApiTest;

TEST_F(LoraxBodies, InputsAreNeededAndNotEmpty) {
  EXPECT_EQ(post("/generate", OrderedJson::object()).json["error"], "Input validation error: `inputs` is missing");
  EXPECT_EQ(post("/generate", {{"inputs", 5}}).json["error"],
            "Input validation error: `inputs` must be a string, not an integer");
  EXPECT_EQ(post("/generate", {{"inputs", ""}}).json["error"], "Input validation error: `inputs` cannot be empty");
}

TEST_F(LoraxBodies, LongInputsAreRefused) {
  const auto answer = generate(OrderedJson::object(), std::string(600, '~'));
  EXPECT_EQ(answer.status, 422);
  EXPECT_EQ(answer.json["error"], "Input validation error: `inputs` must have less than 511 tokens. Given: 600");
}

TEST_F(LoraxBodies, BodiesThatAreNoJsonAreJsonErrors) {
  for (const char* body : {"", "{", "nonsense", "{\"inputs\":\"a\"} x", "{\"inputs\":\"\xff\"}", "{\"inputs\":\"a\",}",
                           "{\"inputs\":\"a\",\"inputs\":\"b\"}", "{\"inputs\":1e999}"}) {
    const auto answer = send("POST", "/generate", body);
    EXPECT_EQ(answer.status, 400) << body;
    EXPECT_EQ(answer.json["error_type"], "validation") << body;
    EXPECT_THAT(answer.json["error"].get<std::string>(), HasSubstr("not valid JSON")) << body;
  }
  EXPECT_EQ(send("POST", "/generate", "[]").status, 422);
  EXPECT_EQ(send("POST", "/generate", "\"text\"").status, 422);
}

TEST_F(LoraxBodies, DeepNestingIsRefused) {
  const std::string body = "{\"inputs\":\"a\",\"x\":" + std::string(100'000, '[') + std::string(100'000, ']') + "}";
  const auto answer = send("POST", "/generate", body);
  EXPECT_EQ(answer.status, 400);
  EXPECT_THAT(answer.json["error"].get<std::string>(), HasSubstr("nested deeper"));
}

TEST_F(LoraxBodies, UnknownFieldsAndNullsAreIgnored) {
  const auto answer = post("/generate", OrderedJson::parse(R"({
      "inputs": "hello", "stream": null, "surprise": {"a": [1]},
      "parameters": {"adapter_id": null, "adapter_source": null, "merged_adapters": null, "api_token": null,
        "best_of": null, "temperature": null, "repetition_penalty": null, "frequency_penalty": null,
        "presence_penalty": null, "top_k": null, "top_p": null, "typical_p": null, "do_sample": null,
        "max_new_tokens": null, "ignore_eos_token": null, "return_full_text": null, "stop": null, "truncate": null,
        "watermark": null, "details": null, "decoder_input_details": null, "return_k_alternatives": null,
        "apply_chat_template": null, "seed": null, "response_format": null, "surprise": 1}})"));
  EXPECT_EQ(answer.status, 200) << answer.body;
  EXPECT_EQ(post("/generate", {{"inputs", "a"}, {"parameters", nullptr}}).status, 200);
  EXPECT_EQ(post("/generate", {{"inputs", "a"}}).status, 200);
}

TEST_F(LoraxBodies, AFormatWithoutConstraintIsAccepted) {
  EXPECT_EQ(generate(OrderedJson::parse(R"({"response_format":{"type":"text"}})")).status, 200);
  // What lorax-client sends.
  EXPECT_EQ(generate(OrderedJson::parse(R"({"response_format":{"type":"json_object","schema":null}})")).status, 200);
}

TEST_F(LoraxBodies, StreamsSayWhatTheyCannotDoInTheStream) {
  const auto best = post("/generate_stream", OrderedJson::parse(R"({"inputs":"a","parameters":{"best_of":2}})"));
  EXPECT_EQ(best.status, 200);
  ASSERT_EQ(best.events.size(), 1U);
  EXPECT_EQ(best.event(0)["error"], "Input validation error: `best_of` != 1 is not supported when streaming tokens");
  EXPECT_EQ(best.event(0)["error_type"], "validation");
  const auto prefill =
      post("/", OrderedJson::parse(R"({"inputs":"a","stream":true,"parameters":{"decoder_input_details":true}})"));
  EXPECT_EQ(prefill.event(0)["error"],
            "Input validation error: `decoder_input_details` == true is not supported when streaming tokens");
}

TEST_F(LoraxBodies, BestOfMayBeDisabled) {
  ApiConfig config;
  config.max_best_of = 1;
  start(config);
  EXPECT_EQ(generate({{"best_of", 2}, {"do_sample", true}}).json["error"],
            "Input validation error: `best_of` != 1 is not allowed for this endpoint");
}

TEST_F(LoraxBodies, LimitsThatCannotWorkStopTheStart) {
  for (const int32_t length : {-1, 512, 100'000}) {
    ApiConfig config;
    config.max_input_length = length;
    const auto server = ApiServer::start(config, *engine_, *tokenizer_, nullptr);
    ASSERT_FALSE(server.ok());
    EXPECT_EQ(server.error().kind, ErrorKind::kInvalid);
    EXPECT_THAT(server.error().message, HasSubstr("max_input_length"));
  }
}

}  // namespace
}  // namespace graft::serving::api
