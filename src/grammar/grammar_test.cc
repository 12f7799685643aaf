// Masks against brute force: what a mask allows is what can be accepted, and what can be accepted is the language.

#include "grammar/grammar.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <xgrammar/tokenizer_info.h>

#include <functional>
#include <random>
#include <regex>

#include "grammar/test_tokenizer.h"
#include "text/oracle.h"

namespace graft::grammar {
namespace {

using ::testing::HasSubstr;

// Every text over `letters` up to `most` characters.
void each_text(const std::string& letters, size_t most, const std::function<void(const std::string&)>& visit,
               const std::string& begin = {}) {
  visit(begin);
  if (begin.size() == most) return;
  for (const char letter : letters) each_text(letters, most, visit, begin + letter);
}

TEST(Grammar, ARegexAcceptsWhatStdRegexMatches) {
  const TestModel model;
  for (const char* pattern : {"a*b", "(ab|ba)+", "a{2,3}", "[^a]b?", "a|b|", "(a|ab)(c|bc)", "^a.c$", "[a-b]{2}c*",
                              "(a?b){2,}", "\\w\\d?", "a+?b", "(?:ab)*c?"}) {
    const auto grammar = model.compiled(GrammarKind::kRegex, pattern);
    ASSERT_TRUE(grammar.ok()) << pattern << grammar.error().message;
    const std::regex expected(pattern);
    each_text("abc1", 4, [&](const std::string& text) {
      EXPECT_EQ(accepts(**grammar, text), std::regex_match(text, expected)) << pattern << " on '" << text << "'";
    });
  }
}

TEST(Grammar, AnEbnfGrammarAcceptsItsLanguage) {
  const TestModel model;
  const auto grammar = model.compiled(GrammarKind::kEbnf, R"(root ::= "a" root "b" | "")");
  ASSERT_TRUE(grammar.ok()) << grammar.error().message;
  each_text("ab", 6, [&](const std::string& text) {
    const size_t half = text.size() / 2;
    const bool expected = text == std::string(half, 'a') + std::string(half, 'b');
    EXPECT_EQ(accepts(**grammar, text), expected) << text;
  });
}

// Along random outputs: a token is allowed exactly if it can be accepted, and exactly if its bytes can be, one by one.
TEST(Grammar, AMaskAllowsWhatCanBeAccepted) {
  const TestModel model;
  const std::vector<std::pair<GrammarKind, const char*>> specs = {
      {GrammarKind::kRegex, "(foo|bar-[0-9]{2})+ö?"},
      {GrammarKind::kEbnf, "root ::= \"[\" item (\", \" item)* \"]\"\nitem ::= [0-9]+ | \"true\" | root"},
      {GrammarKind::kJsonObject, ""},
      {GrammarKind::kJsonSchema,
       R"({"type":"object","properties":{"name":{"type":"string","maxLength":4},"größe":{"type":"number"},
                                     "id":{"enum":["abc","a\"b",12,null]},"l":{"type":"array","items":{"type":"boolean"}}}})"}};
  std::mt19937 random(3);
  size_t compared = 0;
  for (const auto& [kind, text] : specs) {
    const auto grammar = model.compiled(kind, text);
    ASSERT_TRUE(grammar.ok()) << text << grammar.error().message;
    const auto matcher = (*grammar)->matcher();
    for (int step = 0; step < 40; ++step) {
      const auto mask = matcher->mask();
      ASSERT_TRUE(mask.ok());
      ASSERT_EQ(mask->size(), (static_cast<size_t>(model.tokenizer->vocab_size()) + 5 + 31) / 32);
      std::vector<int32_t> allowed;
      for (int32_t id = 0; id < model.tokenizer->vocab_size() + 5; ++id) {
        const bool yes = allows(*mask, id);
        EXPECT_EQ(matcher->fork()->accept(id).ok(), yes) << text << " token " << id << " at step " << step;
        const std::string bytes = id < model.tokenizer->vocab_size() ? model.bytes[static_cast<size_t>(id)] : "";
        if (id != kTestEnd && !bytes.empty()) {
          const auto spelled = matcher->fork();
          bool fits = true;
          for (const char c : bytes) fits = fits && spelled->accept(static_cast<unsigned char>(c)).ok();
          EXPECT_EQ(fits, yes) << text << " token " << id << " at step " << step;
        }
        if (yes && id != kTestEnd) allowed.push_back(id);
        ++compared;
      }
      if (allowed.empty()) break;
      ASSERT_TRUE(matcher->accept(allowed[random() % allowed.size()]).ok());
    }
  }
  EXPECT_GT(compared, 10'000U);
}

TEST(Grammar, SpecialTokensAndIdsBeyondTheTokenizersAreNeverAllowed) {
  const TestModel model;
  const auto grammar = model.compiled(GrammarKind::kRegex, "(.|\\n)*");
  ASSERT_TRUE(grammar.ok());
  const auto matcher = (*grammar)->matcher();
  const auto mask = matcher->mask();
  ASSERT_TRUE(mask.ok());
  EXPECT_TRUE(allows(*mask, 'a'));
  EXPECT_TRUE(allows(*mask, kTestEnd));
  EXPECT_FALSE(allows(*mask, 257));
  for (int32_t id = 0; id < 5; ++id) EXPECT_FALSE(allows(*mask, model.tokenizer->vocab_size() + id));
}

TEST(Grammar, TokensCanBeTakenBackAndOutputsForked) {
  const TestModel model;
  const auto grammar = model.compiled(GrammarKind::kRegex, "ab|cd");
  ASSERT_TRUE(grammar.ok());
  const auto matcher = (*grammar)->matcher();
  ASSERT_TRUE(matcher->accept('a').ok());
  const auto fork = matcher->fork();
  EXPECT_FALSE(matcher->accept('d').ok());
  matcher->rollback(1);
  ASSERT_TRUE(matcher->accept('c').ok());
  ASSERT_TRUE(matcher->accept('d').ok());
  ASSERT_TRUE(matcher->accept(kTestEnd).ok());
  EXPECT_TRUE(matcher->ended());
  EXPECT_FALSE(matcher->accept('a').ok());
  matcher->rollback(2);
  EXPECT_FALSE(matcher->ended());
  EXPECT_TRUE(matcher->accept('d').ok());
  EXPECT_FALSE(fork->ended());
  EXPECT_TRUE(fork->accept('b').ok());
}

TEST(Grammar, WhatIsNoGrammarIsRefused) {
  const TestModel model;
  for (const char* text :
       {"", "root := \"a\"", "other ::= \"a\"", "root ::= missing", "root ::= \"a", "root ::= (\"a\"", "root ::= [a"}) {
    const auto grammar = model.compiled(GrammarKind::kEbnf, text);
    ASSERT_FALSE(grammar.ok()) << text;
    EXPECT_EQ(grammar.error().kind, ErrorKind::kInvalid);
    EXPECT_THAT(grammar.error().message, HasSubstr("the grammar"));
    EXPECT_EQ(grammar.error().message.find('\n'), std::string::npos);
  }
}

// XGrammar can tell the bytes of a byte-level or a sentencepiece vocabulary by itself.
TEST(TokenBytes, AreThoseThatXGrammarFinds) {
  const std::vector<std::pair<const char*, xgrammar::VocabType>> models = {
      {"tokenizer-qwen3", xgrammar::VocabType::BYTE_LEVEL},
      {"tokenizer-llama3_1", xgrammar::VocabType::BYTE_LEVEL},
      {"tokenizer-llama2", xgrammar::VocabType::BYTE_FALLBACK},
      {"tokenizer-gemma3", xgrammar::VocabType::BYTE_FALLBACK}};
  for (const auto& [name, type] : models) {
    const std::string path = std::string(GRAFT_SOURCE_DIR "/.cache/npm/") + name + "/models/tokenizer.json";
    auto tokenizer = text::Tokenizer::from_json(text::testing::read_text(path));
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
    std::vector<std::string> spellings;
    for (int32_t id = 0; id < (*tokenizer)->vocab_size(); ++id) spellings.push_back((*tokenizer)->id_to_token(id));
    const xgrammar::TokenizerInfo info(spellings, type, std::nullopt, std::vector<int32_t>{});
    const std::vector<std::string> bytes = token_bytes(**tokenizer);
    size_t compared = 0;
    for (int32_t id = 0; id < (*tokenizer)->vocab_size(); ++id) {
      // Added tokens are written as they are; XGrammar decodes them like the rest.
      const bool added =
          spellings[static_cast<size_t>(id)].find("<") == 0 && spellings[static_cast<size_t>(id)].size() > 6;
      if ((*tokenizer)->is_special(id) || added || spellings[static_cast<size_t>(id)].empty()) continue;
      EXPECT_EQ(bytes[static_cast<size_t>(id)], info.GetDecodedVocab()[static_cast<size_t>(id)])
          << name << " " << id << " " << spellings[static_cast<size_t>(id)];
      ++compared;
    }
    EXPECT_GT(compared, 30'000U) << name;
  }
}

}  // namespace
}  // namespace graft::grammar
