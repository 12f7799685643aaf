#include "serving/api/openapi.h"

#include <gmock/gmock.h>

#include <set>

#include "serving/api/testing/api_test.h"

namespace graft::serving::api {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class OpenApi : public testing::ApiTest {
 protected:
  OrderedJson document() const { return get("/openapi.json").json; }
};

TEST_F(OpenApi, DescribesEveryRouteThatThereIs) {
  const OrderedJson api = document();
  EXPECT_EQ(api["openapi"], "3.1.0");
  EXPECT_EQ(api["info"]["version"], "1.2.3");
  EXPECT_EQ(get("/api-doc/openapi.json").body, get("/openapi.json").body);
  // What the router refuses with "no such path" is not described, and what is described is there.
  for (const auto& [path, methods] : api["paths"].items()) {
    for (const auto& [method, operation] : methods.items()) {
      std::string upper = method;
      for (char& c : upper) c = static_cast<char>(std::toupper(c));
      const auto answer = send(upper, path, "{}");
      EXPECT_TRUE(operation["responses"].contains(std::to_string(answer.status))) << upper << path << answer.status;
    }
  }
  for (const char* path : {"/", "/generate", "/tokenize", "/v1/completions", "/v1/chat/completions", "/v1/models",
                           "/v1/models/{model}", "/health", "/info", "/metrics", "/docs"}) {
    EXPECT_TRUE(api["paths"].contains(path)) << path;
  }
  EXPECT_TRUE(undocumented({{"GET", "/health"}}).empty());
  EXPECT_EQ(undocumented({{"GET", "/secret"}}).size(), 1U);
}

TEST_F(OpenApi, EveryReferenceLeadsSomewhere) {
  const OrderedJson api = document();
  std::function<void(const OrderedJson&)> visit = [&](const OrderedJson& node) {
    if (node.is_object() && node.contains("$ref")) {
      const auto name = node["$ref"].get<std::string>();
      EXPECT_TRUE(api.contains(OrderedJson::json_pointer(name.substr(1)))) << name;
    }
    if (node.is_structured()) {
      for (const auto& child : node) visit(child);
    }
  };
  visit(api);
}

// The description is no wish list: a value that it excludes is refused, for every field of every request.
TEST_F(OpenApi, WhatItExcludesIsRefused) {
  const OrderedJson schemas = document()["components"]["schemas"];
  const auto check = [&](const std::string& path, const std::string& schema, const OrderedJson& good,
                         const std::string& inside) {
    for (const auto& [name, property] : schemas[schema]["properties"].items()) {
      if (!property.contains("type")) continue;
      std::set<std::string> types;
      for (const auto& type : property["type"].is_array() ? property["type"] : OrderedJson::array({property["type"]})) {
        types.insert(type.get<std::string>());
      }
      std::vector<OrderedJson> bad;
      if (!types.contains("string")) bad.push_back("text");
      if (!types.contains("boolean")) bad.push_back(true);
      if (!types.contains("array")) bad.push_back(OrderedJson::array({1}));
      if (!types.contains("number") && !types.contains("integer")) bad.push_back(1.5);
      if (property.contains("minimum")) bad.push_back(property["minimum"].get<int64_t>() - 1);
      if (property.contains("exclusiveMinimum")) bad.push_back(0);
      for (const OrderedJson& value : bad) {
        OrderedJson body = good;
        (inside.empty() ? body : body[inside])[name] = value;
        const auto answer = post(path, body);
        EXPECT_TRUE(answer.status >= 400 && answer.status < 500)
            << path << " " << name << " " << value << answer.status;
      }
    }
  };
  check("/generate", "GenerateParameters", {{"inputs", "hello"}}, "parameters");
  check("/generate", "GenerateRequest", {{"inputs", "hello"}}, "");
  check("/tokenize", "TokenizeRequest", {{"inputs", "hello"}}, "");
  check("/v1/completions", "CompletionRequest", {{"prompt", "hello"}}, "");
  check("/v1/chat/completions", "ChatRequest", {{"messages", {{{"role", "user"}, {"content", "hello"}}}}}, "");
}

TEST_F(OpenApi, TheDocsPageLoadsNothingFromElsewhere) {
  const auto page = get("/docs");
  EXPECT_EQ(page.status, 200);
  EXPECT_THAT(std::string(page.headers.get("Content-Type")), HasSubstr("text/html"));
  EXPECT_THAT(page.body, Not(HasSubstr("http://")));
  EXPECT_THAT(page.body, Not(HasSubstr("https://")));
  EXPECT_THAT(page.body, HasSubstr("fetch('openapi.json')"));
  EXPECT_THAT(std::string(page.headers.get("Content-Security-Policy")), HasSubstr("default-src 'none'"));
}

}  // namespace
}  // namespace graft::serving::api
