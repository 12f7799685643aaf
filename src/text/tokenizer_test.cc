#include "text/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <thread>

#include "base/utf8.h"
#include "text/oracle.h"

namespace graft::text {
namespace {

using testing::from_hex;
using ::testing::HasSubstr;
using testing::read_lines;
using testing::read_text;
using testing::run_oracle;

std::unique_ptr<Tokenizer> load(const std::string& json) {
  auto made = Tokenizer::from_json(json);
  EXPECT_TRUE(made.ok()) << made.error().message;
  return made.ok() ? std::move(made).value() : nullptr;
}

struct Case {
  std::string input;
  nlohmann::ordered_json expected;
  [[nodiscard]] std::vector<int32_t> ids(const char* key) const { return expected[key].get<std::vector<int32_t>>(); }
};

std::vector<Case> read_cases(const std::filesystem::path& path) {
  std::vector<Case> cases;
  for (auto& line : read_lines(path)) cases.push_back({from_hex(line["hex"].get<std::string>()), line});
  return cases;
}

std::string detokenized_in_steps(const Tokenizer& tokenizer, const std::vector<int32_t>& ids, bool skip_special) {
  IncrementalDetokenizer stream(tokenizer, skip_special);
  std::string text;
  for (const int32_t id : ids) {
    const std::string more = stream.push(id);
    EXPECT_TRUE(is_valid_utf8(more)) << "half a character";
    text += more;
  }
  return text + stream.finish();
}

// Widens a byte range to whole characters, as `tokenizers` reports ranges.
std::pair<size_t, size_t> whole_characters(const std::string& text, std::pair<size_t, size_t> range) {
  const auto inside = [&](size_t i) { return i < text.size() && (static_cast<unsigned char>(text[i]) & 0xC0) == 0x80; };
  while (inside(range.first)) --range.first;
  while (inside(range.second)) ++range.second;
  return range;
}

void expect_same_ids(const Tokenizer& tokenizer, const std::vector<Case>& cases) {
  for (const Case& c : cases) {
    SCOPED_TRACE(c.expected["hex"]);
    ASSERT_EQ(tokenizer.encode(c.input, {.add_special_tokens = false}).ids, c.ids("ids"));
    ASSERT_EQ(tokenizer.encode(c.input).ids, c.ids("with_special"));
  }
}

void expect_same_text(const Tokenizer& tokenizer, const std::vector<Case>& cases) {
  for (const Case& c : cases) {
    SCOPED_TRACE(c.expected["hex"]);
    const auto ids = c.ids("ids");
    ASSERT_EQ(tokenizer.decode(ids, true), c.expected["skipped"].get<std::string>());
    ASSERT_EQ(tokenizer.decode(ids, false), c.expected["kept"].get<std::string>());
    ASSERT_EQ(detokenized_in_steps(tokenizer, ids, true), c.expected["skipped"].get<std::string>());
    ASSERT_EQ(detokenized_in_steps(tokenizer, ids, false), c.expected["kept"].get<std::string>());
  }
}

// Ranges in the package's Python binding are in whole characters. It has none where it counts beyond the text.
void expect_ranges(const std::string& text, const Encoding& encoding, const nlohmann::ordered_json& expected) {
  ASSERT_EQ(encoding.offsets.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    if (expected[i].is_null()) continue;
    const auto range = expected[i].get<std::pair<size_t, size_t>>();
    ASSERT_EQ(whole_characters(text, encoding.offsets[i]), range) << "token " << i;
  }
}

void expect_same_offsets(const Tokenizer& tokenizer, const std::vector<Case>& cases) {
  for (const Case& c : cases) {
    if (!is_valid_utf8(c.input)) continue;
    SCOPED_TRACE(c.expected["hex"]);
    ASSERT_NO_FATAL_FAILURE(
        expect_ranges(c.input, tokenizer.encode(c.input, {.add_special_tokens = false}), c.expected["offsets"]));
    ASSERT_NO_FATAL_FAILURE(expect_ranges(c.input, tokenizer.encode(c.input), c.expected["special_offsets"]));
  }
}

void expect_all_the_same(const std::filesystem::path& file) {
  const auto tokenizer = load(read_text(file));
  ASSERT_NE(tokenizer, nullptr);
  const auto cases = read_cases(file.string() + "l");
  ASSERT_NO_FATAL_FAILURE(expect_same_ids(*tokenizer, cases));
  ASSERT_NO_FATAL_FAILURE(expect_same_text(*tokenizer, cases));
  // The package's ranges make no sense where a word is spelled with more bytes than it has.
  if (file.stem() == "model_bpe_affixes_bytes") return;
  ASSERT_NO_FATAL_FAILURE(expect_same_offsets(*tokenizer, cases));
}

void expect_same_text_of_random_ids(const std::filesystem::path& file) {
  const auto tokenizer = load(read_text(file));
  ASSERT_NE(tokenizer, nullptr);
  std::vector<Case> cases;
  for (auto& line : read_lines(std::filesystem::path(file).replace_extension(".ids.jsonl")))
    cases.push_back({"", line});
  for (Case& c : cases) c.expected["hex"] = c.expected["ids"];
  expect_same_text(*tokenizer, cases);
}

void expect_real_tokenizer_to_agree(const std::string& name) {
  TestDirectory folder;
  ASSERT_NO_FATAL_FAILURE(run_oracle("tests.oracles.tokenizer_cases", name, folder.path()));
  const auto file = folder.path() / (name + ".json");
  ASSERT_GE(read_lines(file.string() + "l").size(), 2000U);
  expect_all_the_same(file);
}

class RealTokenizer : public ::testing::TestWithParam<const char*> {};
TEST_P(RealTokenizer, GivesTheIdsOffsetsAndTextOfThePackageTokenizers) { expect_real_tokenizer_to_agree(GetParam()); }
INSTANTIATE_TEST_SUITE_P(All, RealTokenizer, ::testing::Values("smollm2", "llama2", "llama3_1"),
                         [](const auto& test) { return std::string(test.param); });

class RealTokenizerSlow : public ::testing::TestWithParam<const char*> {};
TEST_P(RealTokenizerSlow, GivesTheIdsOffsetsAndTextOfThePackageTokenizers) {
  expect_real_tokenizer_to_agree(GetParam());
}
INSTANTIATE_TEST_SUITE_P(All, RealTokenizerSlow,
                         ::testing::Values("gemma3", "qwen3", "deepseek_v3", "mistral_nemo", "phi3"),
                         [](const auto& test) { return std::string(test.param); });

void expect_tiny_tokenizers_to_agree(const std::string& group, size_t at_least) {
  TestDirectory folder;
  ASSERT_NO_FATAL_FAILURE(run_oracle("tests.oracles.tokenizer_cases", group, folder.path()));
  size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
    if (entry.path().extension() != ".json") continue;
    SCOPED_TRACE(entry.path().filename());
    expect_all_the_same(entry.path());
    expect_same_text_of_random_ids(entry.path());
    ++count;
  }
  EXPECT_GE(count, at_least);
}

TEST(TinyTokenizers, OfBytesAgreeWithThePackageTokenizers) { expect_tiny_tokenizers_to_agree("tiny", 40); }
TEST(TinyTokenizers, OfEveryKindAgreeWithThePackageTokenizers) { expect_tiny_tokenizers_to_agree("kinds", 70); }

// Bytes, some merges, special tokens: <|a|> is 259, <|b|> 260; "\n\n" 261 is ordinary text with an id of its own, and
// <think> 262 is neither special nor ordinary.
std::unique_ptr<Tokenizer> byte_tokenizer() {
  nlohmann::json vocab;
  int next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    const bool plain = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
    const int c = plain ? byte : next++;
    std::string token;
    if (c < 0x80) {
      token += static_cast<char>(c);
    } else {
      token += static_cast<char>(0xC0 | (c >> 6));
      token += static_cast<char>(0x80 | (c & 0x3F));
    }
    vocab[token] = byte;
  }
  vocab["he"] = 256;
  vocab["ll"] = 257;
  vocab["hell"] = 258;
  nlohmann::json added = nlohmann::json::array();
  const auto add = [&](const char* content, bool special, bool normalized) {
    added.push_back({{"id", 259 + added.size()},
                     {"content", content},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", normalized},
                     {"special", special}});
  };
  add("<|a|>", true, false);
  add("<|b|>", true, false);
  add("\n\n", false, false);
  add("<think>", false, false);
  add("\xC3\xA9!", false, true);  // e with acute accent, composed
  const nlohmann::json file = {
      {"added_tokens", added},
      {"normalizer", {{"type", "NFC"}}},
      {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}}},
      {"decoder", {{"type", "ByteLevel"}}},
      {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", {"h e", "l l", "he ll"}}}}};
  return load(file.dump());
}

TEST(ProtectedSpans, HideAddedTokensThatOverlapThem) {
  const auto tokenizer = byte_tokenizer();
  const auto ids = [&](const std::string& text, std::vector<ProtectedSpan> spans) {
    return tokenizer->encode(text, {}, spans).ids;
  };
  EXPECT_EQ(ids("<|a|>x<|b|>", {}), (std::vector<int32_t>{259, 'x', 260}));
  EXPECT_EQ(ids("<|a|>x<|b|>", {{5, 6}}), (std::vector<int32_t>{259, 'x', 260}));
  const std::vector<int32_t> as_text = {'<', '|', 'a', '|', '>'};
  EXPECT_EQ(ids("<|a|>", {{0, 5}}), as_text);
  EXPECT_EQ(ids("<|a|>", {{4, 5}}), as_text);
  EXPECT_EQ(ids("<|a|>", {{0, 1}}), as_text);
  EXPECT_EQ(ids("<|a|>", {{3, 3}}), std::vector<int32_t>{259}) << "an empty span protects nothing";
  EXPECT_EQ(ids("<|a|><|b|>", {{7, 99}, {6, 8}}), (std::vector<int32_t>{259, '<', '|', 'b', '|', '>'}));
  EXPECT_EQ(ids("<think>", {{0, 7}}), (std::vector<int32_t>{'<', 't', 'h', 'i', 'n', 'k', '>'}));
}

TEST(ProtectedSpans, LeaveOrdinaryTextAsItIs) {
  const auto tokenizer = byte_tokenizer();
  const std::string text = "hello  hell\n\nhe 12 \xC3\xA9 l";
  for (size_t begin = 0; begin < text.size(); ++begin) {
    for (size_t end = begin; end <= text.size(); ++end) {
      const std::vector<ProtectedSpan> spans = {{begin, end}};
      ASSERT_EQ(tokenizer->encode(text, {}, spans).ids, tokenizer->encode(text).ids) << begin << ".." << end;
    }
  }
}

TEST(ProtectedSpans, AreBytesOfTheInputWhateverBecomesOfIt) {
  const auto tokenizer = byte_tokenizer();
  // Three bytes that become three U+FFFD, then an accent that is composed, in front of the tokens.
  const std::string text =
      "\xFF\xFF\xFF"
      "e\xCC\x81! <|a|>e\xCC\x81!";
  const size_t first = 3;
  const size_t special = 8;
  const auto plain = tokenizer->encode(text).ids;
  EXPECT_EQ(std::count(plain.begin(), plain.end(), 259), 1);
  EXPECT_EQ(std::count(plain.begin(), plain.end(), 263), 2);
  const auto count = [&](ProtectedSpan span, int32_t id) {
    const std::vector<ProtectedSpan> spans = {span};
    const auto ids = tokenizer->encode(text, {}, spans).ids;
    return std::count(ids.begin(), ids.end(), id);
  };
  EXPECT_EQ(count({special, special + 1}, 259), 0);
  EXPECT_EQ(count({special - 1, special}, 259), 1);
  EXPECT_EQ(count({first + 3, first + 4}, 263), 1) << "the first one's exclamation mark";
  EXPECT_EQ(count({first, first + 1}, 263), 1);
  EXPECT_EQ(count({0, 3}, 263), 2);
}

TEST(Encoding, OffsetsAreTheBytesEachTokenCameFrom) {
  const auto tokenizer = byte_tokenizer();
  using Ranges = std::vector<std::pair<size_t, size_t>>;
  EXPECT_EQ(tokenizer->encode("hell <|a|>").offsets, (Ranges{{0, 4}, {4, 5}, {5, 10}}));
  EXPECT_EQ(tokenizer->encode("\xFFz").offsets, (Ranges{{0, 1}, {0, 1}, {0, 1}, {1, 2}})) << "three bytes of U+FFFD";
  EXPECT_EQ(tokenizer->encode("xe\xCC\x81").offsets, (Ranges{{0, 1}, {1, 2}, {1, 2}}))
      << "composed: the first character, as the package has it";
}

TEST(Encoding, LongWordsAndManyTokensStayLinear) {
  const auto tokenizer = byte_tokenizer();
  const size_t size = 1 << 20;
  std::string repeated;
  while (repeated.size() < size) repeated += "hell";
  EXPECT_EQ(tokenizer->encode(repeated).ids, std::vector<int32_t>(size / 4, 258));
  std::string specials;
  std::vector<ProtectedSpan> spans;
  for (size_t i = 0; i < 100'000; ++i) {
    if (i % 2 == 1) spans.push_back({specials.size(), specials.size() + 5});
    specials += "<|a|>";
  }
  EXPECT_EQ(tokenizer->encode(specials, {}, spans).ids.size(), 50'000U * 6);
  EXPECT_EQ(tokenizer->encode(std::string(size, ' ')).ids.size(), size);
  std::string marks;  // alternate combining classes: sorting them must not be quadratic
  for (size_t i = 0; i < size / 4; ++i) marks += "\xCC\x81\xCC\xA3";
  EXPECT_EQ(tokenizer->encode(marks).ids.size(), marks.size());
}

TEST(Encoding, ManyThreadsShareOneTokenizer) {
  const auto tokenizer = byte_tokenizer();
  std::vector<std::string> texts;
  std::mt19937 random(3);
  for (int i = 0; i < 200; ++i) {
    std::string text;
    for (int k = 0; k < 40; ++k) text += "hel lo<|a|>12\n"[random() % 14];
    texts.push_back(text);
  }
  std::vector<std::vector<int32_t>> expected;
  for (const auto& text : texts) expected.push_back(byte_tokenizer()->encode(text).ids);
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (size_t i = 0; i < texts.size(); ++i) wrong += tokenizer->encode(texts[i]).ids != expected[i] ? 1 : 0;
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST(Decode, CleansSpacesUpAsTransformersDoes) {
  TestDirectory folder;
  ASSERT_NO_FATAL_FAILURE(run_oracle("tests.oracles.tokenizer_cases", "clean_up", folder.path()));
  const auto tokenizer = byte_tokenizer();
  for (const auto& line : read_lines(folder / "clean_up.jsonl")) {
    SCOPED_TRACE(line["text"]);
    const std::string text = line["text"];
    std::vector<int32_t> ids;
    for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
    ASSERT_EQ(tokenizer->decode(ids, true, true), line["clean"].get<std::string>());
  }
}

TEST(Decode, CleansSpacesUpWhereTheConfigSaysSo) {
  TestDirectory folder;
  ASSERT_NO_FATAL_FAILURE(run_oracle("tests.oracles.tokenizer_cases", "configured", folder.path()));
  std::map<std::string, std::unique_ptr<Tokenizer>> tokenizers;
  size_t changed = 0;
  for (const auto& line : read_lines(folder / "cases.jsonl")) {
    const std::string directory = line["directory"];
    SCOPED_TRACE(line.dump());
    auto& tokenizer = tokenizers[directory];
    if (tokenizer == nullptr) {
      const auto config = nlohmann::json::parse(read_text(folder / directory / "tokenizer_config.json"));
      const bool clean_up =
          config.contains("clean_up_tokenization_spaces") && config["clean_up_tokenization_spaces"] == true;
      tokenizer =
          Tokenizer::from_json(read_text(folder / directory / "tokenizer.json"), {.clean_up_spaces = clean_up}).value();
    }
    const auto ids = line["ids"].get<std::vector<int32_t>>();
    const std::string expected = line["text"];
    ASSERT_EQ(tokenizer->decode(ids, false), expected);
    ASSERT_EQ(detokenized_in_steps(*tokenizer, ids, false), expected);
    changed += tokenizer->decode(ids, false, false) != expected ? 1 : 0;
  }
  EXPECT_EQ(tokenizers.size(), 8U);
  EXPECT_GT(changed, 100U);
}

TEST(IncrementalDetokenizer, HoldsBackHalfACharacterOnly) {
  const auto tokenizer = byte_tokenizer();
  IncrementalDetokenizer stream(*tokenizer);
  EXPECT_EQ(stream.push('a'), "a");
  EXPECT_EQ(stream.push(0xE2), "");
  EXPECT_EQ(stream.push(0x82), "");
  EXPECT_EQ(stream.push(0xAC), "\xE2\x82\xAC");
  EXPECT_EQ(stream.push(259), "") << "special";
  EXPECT_EQ(stream.push(99999), "") << "unknown";
  EXPECT_EQ(stream.push(0xF0), "");
  EXPECT_EQ(stream.push('b'),
            "\xEF\xBF\xBD"
            "b");
  EXPECT_EQ(stream.push(0xC3), "");
  EXPECT_EQ(stream.finish(), "\xEF\xBF\xBD");
  EXPECT_EQ(stream.finish(), "");
}

TEST(IncrementalDetokenizer, AgreesWithDecodeOnAnyIds) {
  const auto tokenizer = byte_tokenizer();
  std::mt19937 random(11);
  for (int round = 0; round < 500; ++round) {
    std::vector<int32_t> ids;
    for (unsigned i = 0; i < random() % 40; ++i) ids.push_back(static_cast<int32_t>(random() % 266));
    ASSERT_EQ(detokenized_in_steps(*tokenizer, ids, false), tokenizer->decode(ids, false));
    ASSERT_EQ(detokenized_in_steps(*tokenizer, ids, true), tokenizer->decode(ids, true));
  }
}

}  // namespace
}  // namespace graft::text
