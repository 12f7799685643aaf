#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "base/utf8.h"
#include "grammar/grammar.h"
#include "grammar/token_bytes.h"
#include "text/tokenizer.h"

// For tests: a small byte-level tokenizer, and outputs drawn through masks.
namespace graft::grammar {

constexpr int32_t kTestEnd = 256;

// Byte b is token b, <eos> is 256, then tokens of several characters.
inline std::unique_ptr<text::Tokenizer> test_tokenizer() {
  using Json = nlohmann::ordered_json;
  const auto utf8 = [](int code) {
    if (code < 0x80) return std::string(1, static_cast<char>(code));
    return std::string{static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 0x3F))};
  };
  Json vocabulary = Json::object();
  int shifted = 256;
  for (int byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
    vocabulary[utf8(printable ? byte : shifted++)] = byte;
  }
  Json added = Json::array();
  const auto add = [&](const std::string& content, bool special) {
    added.push_back({{"id", 256 + static_cast<int>(added.size())},
                     {"content", content},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", special}});
  };
  add("<eos>", true);
  add("<other>", true);
  for (const char* word :
       {"{\"", "\": ", "\",", "\":\"", "\"}",  "]}",    "[[",  "true", "false", "null", "12", "345", "-1",
        "abc", "name", "id",  "foo",   "bar-", "größe", "\\n", "\\\"", ", ",    "  ",   "{}", "[]"}) {
    add(word, false);
  }
  const Json level = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}};
  const Json file = {{"version", "1.0"},
                     {"truncation", nullptr},
                     {"padding", nullptr},
                     {"added_tokens", added},
                     {"normalizer", nullptr},
                     {"pre_tokenizer", level},
                     {"post_processor", nullptr},
                     {"decoder", level},
                     {"model",
                      {{"type", "BPE"},
                       {"dropout", nullptr},
                       {"unk_token", nullptr},
                       {"continuing_subword_prefix", nullptr},
                       {"end_of_word_suffix", nullptr},
                       {"fuse_unk", false},
                       {"byte_fallback", false},
                       {"vocab", vocabulary},
                       {"merges", Json::array()}}}};
  auto parsed = text::Tokenizer::from_json(file.dump());
  if (!parsed.ok()) throw std::runtime_error(parsed.error().message);
  return std::move(parsed).value();
}

struct TestModel {
  std::unique_ptr<text::Tokenizer> tokenizer = test_tokenizer();
  std::vector<std::string> bytes = token_bytes(*tokenizer);
  std::shared_ptr<const Vocabulary> vocabulary = make_vocabulary(*tokenizer, tokenizer->vocab_size() + 5, {kTestEnd});
  GrammarLimits limits;

  [[nodiscard]] Result<std::shared_ptr<const Grammar>> compiled(GrammarKind kind, std::string text) const {
    return compile({kind, std::move(text)}, vocabulary, limits);
  }
};

inline bool allows(std::span<const uint32_t> mask, int32_t id) {
  return (mask[static_cast<size_t>(id) / 32] >> (static_cast<size_t>(id) % 32) & 1U) != 0;
}

// Whether `text`, byte by byte, is a whole sentence.
inline bool accepts(const Grammar& grammar, std::string_view text) {
  const auto matcher = grammar.matcher();
  for (const char c : text) {
    if (!matcher->accept(static_cast<unsigned char>(c)).ok()) return false;
  }
  return matcher->accept(kTestEnd).ok();
}

// An output drawn at random from what masks allow; empty where it did not end within `most` tokens. What ends strings
// and containers is preferred, or nothing would ever end.
inline std::string draw_output(const TestModel& model, const Grammar& grammar, std::mt19937& random, int most = 400) {
  const auto matcher = grammar.matcher();
  std::string out;
  for (int i = 0; i < most; ++i) {
    const auto mask = matcher->mask();
    if (!mask.ok()) throw std::runtime_error(mask.error().message);
    std::vector<int32_t> ids;
    std::vector<int32_t> closing;
    for (int32_t id = 0; id < model.tokenizer->vocab_size(); ++id) {
      if (!allows(*mask, id)) continue;
      ids.push_back(id);
      const bool closes = id == kTestEnd || id == '"' || id == '}' || id == ']' || id == ':';
      if (closes) closing.push_back(id);
    }
    if (ids.empty()) throw std::runtime_error("nothing is allowed after: " + out);
    const auto& from = !closing.empty() && random() % 100 < 40 ? closing : ids;
    const int32_t id = from[random() % from.size()];
    const Status accepted = matcher->accept(id);
    if (!accepted.ok()) throw std::runtime_error(accepted.error().message + " after: " + out);
    // XGrammar's negated classes allow the bytes of surrogates; a detokenizer makes U+FFFD of them.
    if (id == kTestEnd) return is_valid_utf8(out) ? out : std::string();
    out += model.bytes[static_cast<size_t>(id)];
  }
  return {};
}

}  // namespace graft::grammar
