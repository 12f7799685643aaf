#include "recipe/row_encoder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "recipe/test_model.h"

namespace graft::recipe {
namespace {

using testing::HasSubstr;

class RowEncoding : public testing::Test {
 protected:
  RowEncoder encoder(ChatRenderer chat = render_chatml, bool wrap = false, std::vector<int32_t> eos = {kImEnd, kEos}) {
    auto made = RowEncoder::create({tokenizer_.get(), std::move(chat), std::move(eos)}, wrap);
    EXPECT_TRUE(made.ok()) << made.error().message;
    return std::move(made).value();
  }

  // The example with what carries loss in [[ ]].
  std::string shown(const Result<Example>& example) {
    return example.ok() ? preview(*example, *tokenizer_) : "error: " + example.error().message;
  }

  static RowText pair(std::string prompt, std::string completion) {
    RowText row;
    row.row = 7;
    row.prompt = std::move(prompt);
    row.completion = std::move(completion);
    return row;
  }
  static RowText chat(const char* json) {
    RowText row;
    row.row = 7;
    row.messages = nlohmann::ordered_json::parse(json);
    return row;
  }

  std::unique_ptr<text::Tokenizer> tokenizer_ = test_tokenizer();
};

TEST_F(RowEncoding, CompletionAndEndOfSequenceCarryLoss) {
  EXPECT_EQ(shown(encoder().encode(pair("spam?", " yes"))), "<s>spam?[[ yes<|im_end|>]]");
  EXPECT_EQ(shown(encoder(render_chatml, false, {kEos}).encode(pair("spam?", "yes"))), "<s>spam?[[yes</s>]]");
}

TEST_F(RowEncoding, RawTextMayHoldSpecialTokens) {
  const auto example = encoder().encode(pair("a<|im_end|>b", "c<|im_start|>"));
  ASSERT_TRUE(example.ok());
  EXPECT_EQ(example->tokens.size(), 7U);
  EXPECT_EQ(example->tokens[2], kImEnd);
  EXPECT_EQ(example->tokens[5], kImStart);
}

TEST_F(RowEncoding, ChatTemplateWrapsPairsWhenAsked) {
  EXPECT_EQ(shown(encoder(render_chatml, true).encode(pair("hi", "yo"))),
            "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n[[yo<|im_end|>]]\n");
}

TEST_F(RowEncoding, EveryAssistantTurnOfAChatCarriesLossUpToItsEnd) {
  const auto row = chat(R"([{"role": "system", "content": "S"}, {"role": "user", "content": "a"},
      {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}, {"role": "assistant", "content": "d"}])");
  EXPECT_EQ(shown(encoder().encode(row)),
            "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n[[b<|im_end|>]]\n"
            "<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n[[d<|im_end|>]]\n");
}

TEST_F(RowEncoding, MessageContentsNeverCountAsSpecialTokens) {
  const auto example = encoder().encode(
      chat(R"([{"role": "user", "content": "<|im_end|>"}, {"role": "assistant", "content": "x<|im_end|>y"}])"));
  ASSERT_TRUE(example.ok()) << example.error().message;
  EXPECT_EQ(std::count(example->tokens.begin(), example->tokens.end(), kImEnd), 2);
  EXPECT_EQ(supervised_tokens(*example), 13);  // x, the 10 characters of the text <|im_end|>, y, the real token
}

TEST_F(RowEncoding, TemplateWithoutAnEndTokenGetsOne) {
  const ChatRenderer plain = [](const nlohmann::ordered_json& messages, const nlohmann::ordered_json& /*tools*/,
                                bool add_generation_prompt) {
    text::RenderedChat rendered;
    for (const auto& message : messages) {
      rendered.text += message["role"] == "user" ? "U:" : "A:";
      rendered.text += message["content"].get<std::string>();
    }
    if (add_generation_prompt) rendered.text += "A:";
    return Result<text::RenderedChat>(rendered);
  };
  EXPECT_EQ(shown(encoder(plain).encode(
                chat(R"([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}])"))),
            "U:aA:[[b<|im_end|>]]");
}

TEST_F(RowEncoding, TemplateThatHidesTheAssistantIsAHardError) {
  const ChatRenderer silent = [](const nlohmann::ordered_json& /*messages*/, const nlohmann::ordered_json& /*tools*/,
                                 bool /*prompt*/) {
    return Result<text::RenderedChat>(text::RenderedChat{"<s>hello", {}});
  };
  EXPECT_THAT(shown(encoder(silent).encode(
                  chat(R"([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}])"))),
              HasSubstr("row 7: no token carries loss"));
}

TEST_F(RowEncoding, TurnsOfATemplateThatRewritesEarlierOnesAreFoundByTheirContents) {
  const ChatRenderer rewriting = [](const nlohmann::ordered_json& messages, const nlohmann::ordered_json& tools,
                                    bool add_generation_prompt) {
    auto rendered = render_chatml(messages, tools, add_generation_prompt);
    const std::string number = std::to_string(messages.size());
    rendered->text.insert(0, number);
    for (auto& span : rendered->content) span = {span.begin + number.size(), span.end + number.size()};
    return rendered;
  };
  EXPECT_EQ(
      shown(encoder(rewriting).encode(chat(R"([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"},
                    {"role": "user", "content": "a"}, {"role": "assistant", "content": "<|im_end|>"}])"))),
      "4<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n[[b<|im_end|>]]\n"
      "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n[[<|im_end|><|im_end|>]]\n");
}

TEST_F(RowEncoding, ATemplateThatShowsATurnInTwoPlacesIsAnError) {
  const ChatRenderer twice = [](const nlohmann::ordered_json& messages, const nlohmann::ordered_json& tools,
                                bool add_generation_prompt) {
    auto rendered = render_chatml(messages, tools, add_generation_prompt);
    rendered->text.insert(0, std::to_string(messages.size()) + messages.back()["content"].get<std::string>());
    rendered->content.clear();
    return rendered;
  };
  EXPECT_THAT(shown(encoder(twice).encode(
                  chat(R"([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}])"))),
              HasSubstr("row 7: the chat template renders messages[1] differently"));
}

ChatRenderer compiled(const char* source) {
  auto made = text::ChatTemplate::compile(source);
  EXPECT_TRUE(made.ok()) << made.error().message;
  return chat_renderer(std::move(made).value(), nlohmann::ordered_json::object());
}

// As trl's training templates have it; earlier turns are rewritten, which rendering prefixes could not follow.
constexpr const char* kMarkedTemplate =
    "{% macro turn(m) %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}{% generation %}{{ m.content "
    "}}<|im_end|>"
    "{% endgeneration %}{% else %}{{ m.content }}<|im_end|>{% endif %}{{ '\\n' }}{% endmacro %}"
    "{{ messages | length }}{% for m in messages %}{{ turn(m) }}{% endfor %}";

TEST_F(RowEncoding, GenerationBlocksOfTheTemplateDecideWhatCarriesLoss) {
  const auto row = chat(R"([{"role": "user", "content": "a<|im_end|>"}, {"role": "assistant", "content": "b"},
      {"role": "user", "content": "c"}, {"role": "assistant", "content": "d<|im_end|>e"}])");
  const auto example = encoder(compiled(kMarkedTemplate)).encode(row);
  EXPECT_EQ(shown(example),
            "4<|im_start|>user\na<|im_end|><|im_end|>\n<|im_start|>assistant\n[[b<|im_end|>]]\n"
            "<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n[[d<|im_end|>e<|im_end|>]]\n");
  EXPECT_EQ(std::count(example->tokens.begin(), example->tokens.end(), kImEnd), 4) << "those of the template";
}

TEST_F(RowEncoding, GenerationBlocksThatPrintNothingAreAHardError) {
  const auto row = chat(R"([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}])");
  EXPECT_THAT(shown(encoder(compiled("{% for m in messages %}{{ m.content }}{% endfor %}{% generation %}"
                                     "{% endgeneration %}"))
                        .encode(row)),
              HasSubstr("row 7: no token carries loss: the chat template prints nothing inside of {% generation %}"));
}

TEST_F(RowEncoding, TemplatesOwnErrorsNameTheRow) {
  const ChatRenderer failing = [](const nlohmann::ordered_json& /*messages*/, const nlohmann::ordered_json& /*tools*/,
                                  bool /*prompt*/) {
    return Result<text::RenderedChat>(invalid("roles must alternate"));
  };
  EXPECT_EQ(shown(encoder(failing).encode(chat(R"([{"role": "assistant", "content": "b"}])"))),
            "error: row 7: chat template: roles must alternate");
}

TEST_F(RowEncoding, PromptsEqualTheBeginningOfTheExample) {
  const auto row = chat(R"([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"},
      {"role": "user", "content": "c"}, {"role": "assistant", "content": "d"}])");
  for (const auto& [encoding, text, reference] :
       {std::tuple{encoder(), pair("spam?", " yes"), " yes"},
        std::tuple{encoder(render_chatml, true), pair("q", "r"), "r"}, std::tuple{encoder(), row, "d"}}) {
    const auto example = encoding.encode(text);
    const auto prompt = encoding.prompt(text);
    ASSERT_TRUE(example.ok() && prompt.ok());
    EXPECT_EQ(prompt->reference, reference);
    ASSERT_LT(prompt->tokens.size(), example->tokens.size());
    EXPECT_TRUE(std::equal(prompt->tokens.begin(), prompt->tokens.end(), example->tokens.begin()));
    EXPECT_EQ(example->supervised[prompt->tokens.size()], 1);
    EXPECT_EQ(example->supervised[prompt->tokens.size() - 1], 0);
  }
}

TEST_F(RowEncoding, ModelsThatLackWhatIsNeededAreRefused) {
  EXPECT_THAT(RowEncoder::create({tokenizer_.get(), render_chatml, {}}, false).error().message,
              HasSubstr("end-of-sequence"));
  EXPECT_THAT(RowEncoder::create({tokenizer_.get(), {}, {kEos}}, true).error().message,
              HasSubstr("prompt.apply_chat_template"));
  EXPECT_THAT(shown(encoder({}).encode(chat(R"([{"role": "assistant", "content": "b"}])"))),
              HasSubstr("row 7: messages, but the model has no chat template"));
}

TEST_F(RowEncoding, TruncationKeepsTheAnswerAndTheFirstSpecialToken) {
  const auto cut = [&](const RowText& row, int64_t limit) {
    auto example = encoder().encode(row);
    EXPECT_TRUE(example.ok());
    truncate(*example, limit, *tokenizer_);
    EXPECT_LE(static_cast<int64_t>(example->tokens.size()), limit);
    EXPECT_EQ(example->tokens.size(), example->supervised.size());
    return preview(*example, *tokenizer_);
  };
  EXPECT_EQ(cut(pair("abcdef", "xyz"), 11), "<s>abcdef[[xyz<|im_end|>]]");
  EXPECT_EQ(cut(pair("abcdef", "xyz"), 8), "<s>def[[xyz<|im_end|>]]");
  EXPECT_EQ(cut(pair("abcdef", "xyz"), 5), "<s>[[xyz<|im_end|>]]");
  EXPECT_EQ(cut(pair("abcdef", "xyz"), 3), "<s>[[xy]]");
  tokenizer_ = test_tokenizer(/*bos=*/false);
  EXPECT_EQ(cut(pair("abcdef", "xyz"), 6), "ef[[xyz<|im_end|>]]");
  EXPECT_EQ(cut(pair("abcdef", "xyz"), 2), "f[[x]]");
}

}  // namespace
}  // namespace graft::recipe
