// What a tokenizer.json may not be: each mistake is one line that names the place.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>

#include "base/utf8.h"
#include "text/tokenizer.h"

namespace graft::text {
namespace {

using nlohmann::json;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::Not;

json small_file() {
  return json::parse(R"({
    "version": "1.0", "truncation": null, "padding": null,
    "added_tokens": [
      {"id": 6, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true},
      {"id": 7, "content": "x", "single_word": true, "lstrip": true, "rstrip": true, "normalized": true, "special": false}],
    "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}]},
    "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
      {"type": "Digits", "individual_digits": true},
      {"type": "Split", "pattern": {"Regex": "[z]+"}, "behavior": "Isolated", "invert": false},
      {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}]},
    "post_processor": {"type": "TemplateProcessing",
      "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
      "pair": [], "special_tokens": {"<s>": {"id": "<s>", "ids": [6], "tokens": ["<s>"]}}},
    "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
    "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
      "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
      "vocab": {"a": 0, "b": 1, "c": 2, "ab": 3, "abc": 4, "Ġ": 5},
      "merges": ["a b", ["ab", "c"]]}
  })");
}

std::string error_of(const std::string& text) {
  const auto made = Tokenizer::from_json(text);
  return made.ok() ? "no error" : made.error().message;
}

TEST(TokenizerJson, ReadsMergesAsStringsAndAsPairs) {
  const auto tokenizer = Tokenizer::from_json(small_file().dump());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
  EXPECT_EQ((*tokenizer)->encode("abc").ids, (std::vector<int32_t>{6, 4}));
  EXPECT_EQ((*tokenizer)->vocab_size(), 8);
  EXPECT_EQ((*tokenizer)->token_to_id("<s>"), 6);
  EXPECT_EQ((*tokenizer)->token_to_id("nothing"), -1);
  EXPECT_EQ((*tokenizer)->id_to_token(4), "abc");
  EXPECT_EQ((*tokenizer)->id_to_token(-1), "");
  EXPECT_EQ((*tokenizer)->id_to_token(8), "");
  EXPECT_TRUE((*tokenizer)->is_special(6));
  EXPECT_FALSE((*tokenizer)->is_special(7));
}

struct Mistake {
  const char* name;
  const char* pointer;  // what of the file is replaced
  const char* value;    // by this JSON; nullptr: removed
  const char* message;
};

class Mistakes : public ::testing::TestWithParam<Mistake> {};

TEST_P(Mistakes, AreNamedWithTheirPlace) {
  json file = small_file();
  const json::json_pointer pointer(GetParam().pointer);
  if (GetParam().value != nullptr) {
    file[pointer] = json::parse(GetParam().value);
  } else {
    file.at(pointer.parent_pointer()).erase(pointer.back());
  }
  const std::string message = error_of(file.dump());
  EXPECT_THAT(message, HasSubstr(GetParam().message));
  EXPECT_THAT(message, Not(HasSubstr("\n")));
}

INSTANTIATE_TEST_SUITE_P(
    All, Mistakes,
    ::testing::Values(
        Mistake{"Version", "/version", R"("2.0")", "version: only 1.0"},
        Mistake{"UnknownSection", "/normaliser", "null", "normaliser: unknown key; did you mean 'normalizer'?"},
        Mistake{"Normalizer", "/normalizer/normalizers/0/type", R"("Uppercase")",
                "normalizer.normalizers[0]: type 'Uppercase' is not supported; supported: BertNormalizer, ByteLevel"},
        Mistake{"PreTokenizer", "/pre_tokenizer", R"({"type": "Metaspaces"})",
                "pre_tokenizer: type 'Metaspaces' is not supported"},
        Mistake{"Metaspace", "/pre_tokenizer", R"({"type": "Metaspace", "replacement": "ab"})",
                "pre_tokenizer.replacement: expected one character, found 'ab'"},
        Mistake{"PrependScheme", "/pre_tokenizer",
                R"({"type": "Metaspace", "replacement": "_", "prepend_scheme": "alway"})",
                "pre_tokenizer.prepend_scheme: unknown scheme 'alway'; did you mean 'always'?"},
        Mistake{"Base64", "/normalizer/normalizers/0", R"({"type": "Precompiled", "precompiled_charsmap": "AAA!"})",
                "normalizer.normalizers[0].precompiled_charsmap: not base64"},
        Mistake{"Charsmap", "/normalizer/normalizers/0",
                R"({"type": "Precompiled", "precompiled_charsmap": "////fwAA"})",
                "normalizer.normalizers[0].precompiled_charsmap: not a map of characters"},
        Mistake{"PreTokenizerType", "/pre_tokenizer/pretokenizers/0/type", "3",
                "pre_tokenizer.pretokenizers[0].type: expected a string, found number"},
        Mistake{"MissingOption", "/pre_tokenizer/pretokenizers/0/individual_digits", nullptr,
                "pretokenizers[0].individual_digits: missing"},
        Mistake{"UnknownOption", "/pre_tokenizer/pretokenizers/2/use_regexp", "true",
                "pretokenizers[2].use_regexp: unknown key; did you mean 'use_regex'?"},
        Mistake{"Regex", "/pre_tokenizer/pretokenizers/1/pattern/Regex", R"("a(b")",
                "pretokenizers[1].pattern.Regex: regular expression 'a(b'"},
        Mistake{"Behavior", "/pre_tokenizer/pretokenizers/1/behavior", R"("Isolate")", "did you mean 'Isolated'?"},
        Mistake{"Decoder", "/decoder/type", R"("WordPieces")", "decoder: type 'WordPieces' is not supported"},
        Mistake{"PostProcessor", "/post_processor/type", R"("Template")",
                "post_processor: type 'Template' is not supported"},
        Mistake{"BertToken", "/post_processor", R"({"type": "BertProcessing", "sep": ["<s>", 6], "cls": ["x", 99]})",
                "post_processor.cls: no token has id 99"},
        Mistake{"TemplateToken", "/post_processor/special_tokens/<s>/ids/0", "99", "ids[0]: no token has id 99"},
        Mistake{"TemplateName", "/post_processor/single/0/SpecialToken/id", R"("<t>")",
                "post_processor.single[0]: '<t>' is not in special_tokens"},
        Mistake{"TemplateWithoutText", "/post_processor/single", "[]", "Sequence A, the text, is missing"},
        Mistake{"NoModel", "/model", nullptr, "model: missing"},
        Mistake{"Model", "/model/type", R"("Bigram")",
                "model: type 'Bigram' is not supported; supported: BPE, Unigram"},
        Mistake{"ModelKind", "/model/type", R"("Unigram")", "model.vocab: expected an array of tokens and scores"},
        Mistake{"Unigram", "/model", R"({"type": "Unigram", "unk_id": 2, "vocab": [["a", 0], ["b", -1.5]]})",
                "model.unk_id: 2 is outside the vocabulary"},
        Mistake{"Pieces", "/model", R"({"type": "Unigram", "unk_id": 0, "vocab": [["a", 0], ["b"]]})",
                "model.vocab[1]: expected a token and its score"},
        Mistake{"NoUnknown", "/model", R"({"type": "Unigram", "unk_id": null, "vocab": [["a", 0]]})",
                "model.unk_id: missing"},
        Mistake{"WordLevel", "/model", R"({"type": "WordLevel", "unk_token": "u", "vocab": {"a": 0}})",
                "model.unk_token: 'u' is not in model.vocab"},
        Mistake{"Prefix", "/model/continuing_subword_prefix", R"("##")", "model.merges[0]: empty token"},
        Mistake{"UnknownToken", "/model/unk_token", R"("<unk>")", "model.unk_token: '<unk>' is not in model.vocab"},
        Mistake{"NoVocabulary", "/model/vocab", "{}", "model.vocab: missing or empty"},
        Mistake{"VocabularyKind", "/model/vocab", "[1]", "model.vocab[0]: expected a token and its score"},
        Mistake{"IdKind", "/model/vocab/a", R"("0")", "model.vocab['a']: expected a token id"},
        Mistake{"NegativeId", "/model/vocab/a", "-1", "model.vocab['a']: token id -1 is not in 0.."},
        Mistake{"HugeId", "/model/vocab/a", "18446744073709551615", "model.vocab['a']: token id"},
        Mistake{"LargeId", "/model/vocab/a", "4000000", "model.vocab: largest id is 4000000, but there are only 6"},
        Mistake{"TwiceTheId", "/model/vocab/a", "1", "id 1 belongs to 'a' already"},
        Mistake{"MergeOfUnknown", "/model/merges/0", R"("a z")", "model.merges[0]: 'z' is not in model.vocab"},
        Mistake{"MergeIntoUnknown", "/model/merges/0", R"("b a")", "model.merges[0]: 'ba' is not in model.vocab"},
        Mistake{"MergeOfThree", "/model/merges/0", R"("a b c")", "model.merges[0]: expected two tokens"},
        Mistake{"MergeOfOne", "/model/merges/1", R"(["a"])", "model.merges[1]: expected two tokens"},
        Mistake{"MergeKind", "/model/merges/1", "7", "model.merges[1]: expected a string or a pair"},
        Mistake{"MergesKind", "/model/merges", R"("a b")", "model.merges: expected an array, found string"},
        Mistake{"AddedTokenId", "/added_tokens/0/id", "9", "added_tokens[0]: '<s>' has id 9; the next free id is 6"},
        Mistake{"AddedTokenInVocabulary", "/added_tokens/0/content", R"("ab")",
                "added_tokens[0]: 'ab' has id 6, but model.vocab says 3"},
        Mistake{"AddedTokenTwice", "/added_tokens/1/content", R"("<s>")", "added_tokens[1]: '<s>' appears twice"},
        Mistake{"EmptyAddedToken", "/added_tokens/1/content", R"("")",
                "added_tokens[1].content: an added token cannot be empty"},
        Mistake{"AddedTokensKind", "/added_tokens", "{}", "added_tokens: expected an array, found object"}),
    [](const auto& test) { return std::string(test.param.name); });

TEST(TokenizerJson, RefusesSequencesNestedTooDeep) {
  json file = small_file();
  json nested = json::parse(R"({"type": "NFC"})");
  for (int i = 0; i < 20; ++i) nested = {{"type", "Sequence"}, {"normalizers", json::array({nested})}};
  file["normalizer"] = nested;
  EXPECT_THAT(error_of(file.dump()), HasSubstr("nested too deep"));
  const std::string brackets(100'000, '[');
  EXPECT_THAT(error_of(brackets), HasSubstr("nested deeper than"));
}

TEST(TokenizerJson, RefusesEveryTruncation) {
  const std::string text = small_file().dump();
  for (size_t size = 0; size < text.size(); ++size) {
    const std::string message = error_of(text.substr(0, size));
    ASSERT_NE(message, "no error") << size;
    ASSERT_THAT(message, Not(HasSubstr("\n")));
  }
}

// A mutated file is refused, or it is a tokenizer that takes any text.
TEST(TokenizerJson, SurvivesMutations) {
  const std::string original = small_file().dump();
  std::mt19937 random(7);
  const std::string pieces[] = {"{",    "}",  "[",   "]",       "\"",   ",",       ":",
                                "null", "-1", "1e9", "\\u0000", "\xFF", "\\ud800", "[z]*"};
  size_t accepted = 0;
  for (int round = 0; round < 4000; ++round) {
    std::string text = original;
    for (unsigned edit = 0; edit <= random() % 3; ++edit) {
      const size_t at = random() % text.size();
      const size_t length = random() % 12;
      const unsigned kind = random() % 3;
      if (kind == 0) text.erase(at, length);
      if (kind == 1) text.insert(at, pieces[random() % std::size(pieces)]);
      if (kind == 2) text[at] = static_cast<char>(random() % 256);
      if (text.empty()) text = "{";
    }
    const auto made = Tokenizer::from_json(text);
    if (!made.ok()) {
      ASSERT_THAT(made.error().message, Not(HasSubstr("\n")));
      continue;
    }
    ++accepted;
    const auto encoding = (*made)->encode("abc x 123 bb <s> \xFF\xE2\x82 a\xCC\x81");
    ASSERT_TRUE(is_valid_utf8((*made)->decode(encoding.ids, false)));
  }
  EXPECT_GT(accepted, 20U);
}

}  // namespace
}  // namespace graft::text
