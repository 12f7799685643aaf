// What carries loss in chats, against transformers' return_assistant_tokens_mask.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "base/test_directory.h"
#include "recipe/conversation.h"
#include "recipe/row_encoder.h"
#include "text/oracle.h"

namespace graft::recipe {
namespace {

using nlohmann::ordered_json;

class ChatMask : public testing::Test {
 protected:
  void SetUp() override {
    text::testing::run_oracle("tests.oracles.chat_mask_cases", "masks", dir_.path());
    const std::string path = text::testing::read_text(dir_ / "tokenizer");
    auto made = text::Tokenizer::from_json(text::testing::read_text(path));
    ASSERT_TRUE(made.ok()) << made.error().message;
    tokenizer_ = std::move(made).value();
    for (const auto& line : text::testing::read_lines(dir_ / "templates.jsonl")) {
      marked_.emplace(line["name"], encoder(line["source"]));
      plain_.emplace(line["name"], encoder(line["plain"]));
    }
    cases_ = text::testing::read_lines(dir_ / "cases.jsonl");
  }

  RowEncoder encoder(const std::string& source) {
    auto chat = text::ChatTemplate::compile(source);
    EXPECT_TRUE(chat.ok()) << chat.error().message;
    auto made = RowEncoder::create({tokenizer_.get(),
                                    chat_renderer(std::move(chat).value(), ordered_json::object()),
                                    {tokenizer_->token_to_id("<|im_end|>")}},
                                   false);
    EXPECT_TRUE(made.ok()) << made.error().message;
    return std::move(made).value();
  }

  static RowText row_of(const ordered_json& expected) {
    RowText row;
    row.row = 1;
    auto messages = read_messages(expected["messages"]);
    EXPECT_TRUE(messages.ok()) << messages.error().message;
    row.messages = std::move(messages).value();
    row.tools = expected["tools"];
    return row;
  }

  TestDirectory dir_;
  std::unique_ptr<text::Tokenizer> tokenizer_;
  std::map<std::string, RowEncoder> marked_;
  std::map<std::string, RowEncoder> plain_;
  std::vector<ordered_json> cases_;
};

std::span<const int32_t> example_token(const Example& example, size_t i) {
  return std::span(example.tokens).subspan(i, 1);
}

// transformers' mask leaves out the last tokens of characters that are several tokens, and so of what they end.
void expect_mask(const Example& example, const ordered_json& expected, const text::Tokenizer& tokenizer) {
  const auto mask = expected["mask"].get<std::vector<uint8_t>>();
  ASSERT_EQ(example.supervised.size(), mask.size());
  for (size_t i = 0; i < mask.size(); ++i) {
    const bool rest = i > 0 && mask[i] == 0 && example.supervised[i - 1] != 0 &&
                      tokenizer.decode(example_token(example, i)).starts_with("\xEF\xBF\xBD");
    // trl's templates mark the line ends around a turn, too; graft finds it from where the model goes on to its end.
    const bool line_end =
        mask[i] == 1 && example.supervised[i] == 0 && tokenizer.decode(example_token(example, i)) == "\n";
    if (rest || line_end) continue;
    EXPECT_EQ(example.supervised[i], mask[i])
        << "token " << i << " (" << example.tokens[i - 1] << ", " << example.tokens[i] << ")\n"
        << preview(example, tokenizer);
  }
}

TEST_F(ChatMask, IsTransformersWhereTheTemplateMarksWhatTheAssistantSays) {
  for (const auto& expected : cases_) {
    const auto example = marked_.at(expected["template"]).encode(row_of(expected));
    ASSERT_TRUE(example.ok()) << example.error().message << "\n" << expected["messages"];
    EXPECT_EQ(ordered_json(example->tokens), expected["ids"]);
    expect_mask(*example, expected, *tokenizer_);
  }
}

TEST_F(ChatMask, IsTheSameWhereTurnsAreFoundByRenderingPrefixes) {
  std::map<std::string, int> compared;
  for (const auto& expected : cases_) {
    if (!expected["same"]) continue;
    ++compared[expected["template"]];
    const auto example = plain_.at(expected["template"]).encode(row_of(expected));
    ASSERT_TRUE(example.ok()) << example.error().message << "\n" << expected["messages"];
    EXPECT_EQ(ordered_json(example->tokens), expected["ids"]);
    expect_mask(*example, expected, *tokenizer_);
  }
  EXPECT_EQ(compared["chatml"], 60);
  EXPECT_GT(compared["qwen2_5"], 50);
  EXPECT_GT(compared["qwen3"], 0);
}

TEST_F(ChatMask, QwensOwnTemplateLearnsEveryTurnThoughItRewritesEarlierOnes) {
  for (const auto& expected : cases_) {
    if (expected["template"] != "qwen3" || !expected["tools"].is_null()) continue;
    const auto example = plain_.at("qwen3").encode(row_of(expected));
    ASSERT_TRUE(example.ok()) << example.error().message << "\n" << expected["messages"];
    int64_t ends = 0;
    for (size_t i = 0; i < example->tokens.size(); ++i) {
      ends += example->supervised[i] != 0 && example->tokens[i] == tokenizer_->token_to_id("<|im_end|>") ? 1 : 0;
    }
    const auto& messages = expected["messages"];
    EXPECT_EQ(ends,
              std::count_if(messages.begin(), messages.end(), [](const auto& m) { return m["role"] == "assistant"; }))
        << preview(*example, *tokenizer_);
  }
}

}  // namespace
}  // namespace graft::recipe
