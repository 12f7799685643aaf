#include "text/chat_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

#include "formats/chat_template_files.h"
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

// Byte ranges as ranges of characters.
ordered_json in_characters(const std::string& text, const std::vector<ProtectedSpan>& spans) {
  const auto place = [&](size_t end) {
    return std::count_if(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(end),
                         [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
  };
  ordered_json ranges = ordered_json::array();
  for (const ProtectedSpan& span : spans) ranges.push_back({place(span.begin), place(span.end)});
  return ranges;
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
  EXPECT_EQ(rendered->marks_generation, expected.contains("generated"));
  if (expected.contains("generated")) {
    EXPECT_EQ(in_characters(rendered->text, rendered->generated), expected["generated"]);
  }
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

TEST(ChatTemplate, SlowMasksTheTokensThatTransformersDoes) {
  TestDirectory folder;
  ASSERT_NO_FATAL_FAILURE(run_oracle("tests.oracles.chat_template_cases", "masks", folder.path()));
  const Templates templates = read_templates(folder / "templates.jsonl");
  const auto tokenizer = Tokenizer::from_json(testing::read_text(testing::read_text(folder / "tokenizer")));
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
  size_t supervised = 0;
  for (const auto& expected : read_lines(folder / "cases.jsonl")) {
    SCOPED_TRACE(expected.dump(-1, ' ', true));
    ChatTemplateOptions options;
    options.add_generation_prompt = expected["add_generation_prompt"].get<bool>();
    options.tools = expected["tools"];
    options.extra = expected["extra"];
    const auto rendered = templates.at("qwen3_training")->render(expected["messages"], options);
    ASSERT_TRUE(rendered.ok()) << rendered.error().message;
    const Encoding encoding = (*tokenizer)->encode(rendered->text, {.add_special_tokens = false}, rendered->content);
    EXPECT_EQ(encoding.ids, expected["ids"].get<std::vector<int32_t>>());
    const auto mask = token_mask(encoding, rendered->generated);
    EXPECT_EQ(mask, expected["mask"].get<std::vector<uint8_t>>());
    supervised += static_cast<size_t>(std::count(mask.begin(), mask.end(), 1));
  }
  EXPECT_GT(supervised, 100U);
}

TEST(ChatTemplate, IsChosenByNameToolsOrDefault) {
  const auto compiled = ChatTemplate::compile(
      std::map<std::string, std::string>{{"default", "D"}, {"tool_use", "T"}, {"rag", "R{{ documents[0].text }}"}});
  ASSERT_TRUE(compiled.ok()) << compiled.error().message;
  const auto text = [&](const ChatTemplateOptions& options) {
    const auto rendered = (*compiled)->render(ordered_json::array(), options);
    return rendered.ok() ? rendered->text : rendered.error().message;
  };
  ChatTemplateOptions options;
  EXPECT_EQ(text(options), "D");
  options.tools = ordered_json::array();
  EXPECT_EQ(text(options), "T");
  options.name = "rag";
  options.documents = ordered_json::array({{{"text", "x"}}});
  EXPECT_EQ(text(options), "Rx");
  options.name = "tooluse";
  EXPECT_THAT(text(options), HasSubstr("no chat template is named 'tooluse'; did you mean 'tool_use'?"));
  options.documents = "x";
  EXPECT_THAT(text(options), HasSubstr("documents: expected an array"));
  const auto broken = ChatTemplate::compile(std::map<std::string, std::string>{{"a", "{{"}, {"b", ""}});
  EXPECT_THAT(broken.error().message, StartsWith("'a': chat template, line 1"));
  const auto no_default = ChatTemplate::compile(std::map<std::string, std::string>{{"a", ""}, {"b", ""}});
  EXPECT_THAT((*no_default)->render(ordered_json::array(), {}).error().message, HasSubstr("name one of: a, b"));
}

TEST(ChatTemplate, OfADirectoryIsTheOneThatTransformersTakes) {
  TestDirectory folder;
  ASSERT_NO_FATAL_FAILURE(run_oracle("tests.oracles.chat_template_cases", "named", folder.path()));
  size_t found = 0;
  for (const auto& expected : read_lines(folder / "cases.jsonl")) {
    SCOPED_TRACE(expected.dump());
    const auto templates = formats::read_chat_templates(folder / expected["directory"].get<std::string>());
    ASSERT_TRUE(templates.ok()) << templates.error().message;
    if (templates->size() == 1 && expected["name"] == "default")
      continue;  // here, a model's only template is "default"
    const auto compiled = ChatTemplate::compile(*templates);
    ChatTemplateOptions options;
    options.name = expected["name"].get<std::string>();
    options.tools = expected["tools"];
    const auto rendered = compiled.ok() ? (*compiled)->render(ordered_json::array(), options) : compiled.error();
    EXPECT_EQ(rendered.ok(), expected.contains("text"));
    if (!rendered.ok() || !expected.contains("text")) continue;
    EXPECT_EQ(rendered->text, expected["text"].get<std::string>());
    ++found;
  }
  EXPECT_GT(found, 20U);
}

}  // namespace
}  // namespace graft::text
