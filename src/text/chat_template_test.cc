#include "text/chat_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

#include "text/oracle.h"

namespace graft::text {
namespace {

using nlohmann::ordered_json;
using ::testing::HasSubstr;
using testing::read_lines;
using testing::run_oracle;
using ::testing::StartsWith;

std::tm oracle_time() {
  std::tm now{};
  now.tm_year = 124;
  now.tm_mon = 6;
  now.tm_mday = 9;
  now.tm_hour = 13;
  now.tm_min = 5;
  now.tm_sec = 59;
  now.tm_wday = 2;
  now.tm_yday = 190;
  return now;
}

std::unique_ptr<ChatTemplate> compile(const std::string& source) {
  auto made = ChatTemplate::compile(source);
  EXPECT_TRUE(made.ok()) << made.error().message;
  return made.ok() ? std::move(made).value() : nullptr;
}

using Templates = std::map<std::string, std::unique_ptr<ChatTemplate>>;

Templates read_templates(const std::filesystem::path& path) {
  Templates templates;
  for (const auto& line : read_lines(path)) {
    const auto name = line["name"].get<std::string>();
    SCOPED_TRACE(name);
    templates[name] = compile(line["source"].get<std::string>());
  }
  return templates;
}

void expect_as_transformers(const ChatTemplate& chat_template, const ordered_json& expected) {
  ChatTemplateOptions options;
  options.add_generation_prompt = expected["add_generation_prompt"].get<bool>();
  options.tools = expected["tools"];
  options.extra = expected["extra"];
  options.now = oracle_time();
  const auto rendered = chat_template.render(expected["messages"], options);
  if (expected.contains("error")) {
    EXPECT_FALSE(rendered.ok()) << "transformers: " << expected["error"] << "\nhere: " << rendered->text;
    if (expected.contains("raised") && !rendered.ok()) {
      EXPECT_EQ(rendered.error().message, expected["raised"].get<std::string>());
    }
    return;
  }
  ASSERT_TRUE(rendered.ok()) << rendered.error().message;
  EXPECT_EQ(rendered->text, expected["text"].get<std::string>());
}

void compare_with_transformers(const char* which, size_t least_cases) {
  TestDirectory folder;
  ASSERT_NO_FATAL_FAILURE(run_oracle("tests.oracles.chat_template_cases", which, folder.path()));
  const Templates templates = read_templates(folder / "templates.jsonl");
  const auto cases = read_lines(folder / "cases.jsonl");
  EXPECT_GE(cases.size(), least_cases);
  for (const auto& expected : cases) {
    const auto& chat_template = templates.at(expected["template"].get<std::string>());
    ASSERT_NE(chat_template, nullptr) << expected["template"];
    SCOPED_TRACE(expected.dump(-1, ' ', true));
    expect_as_transformers(*chat_template, expected);
  }
}

TEST(ChatTemplate, RendersTheModelsTemplatesAsTransformersDoes) { compare_with_transformers("models", 1000); }

TEST(ChatTemplate, RendersManyFamiliesTemplatesAsTransformersDoes) { compare_with_transformers("families", 5000); }

}  // namespace
}  // namespace graft::text
