// Any text through fixed small tokenizers of several kinds: offsets stay within the text, steps of decoding give what
// decoding as a whole gives and never half a character, and byte-level tokenizers give the text back.

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/utf8.h"
#include "text/stages/byte_level.h"
#include "text/tokenizer.h"

namespace {

using graft::text::ByteAlphabet;
using graft::text::IncrementalDetokenizer;
using graft::text::Tokenizer;
using nlohmann::json;

json added(int id, const char* content, bool special, bool normalized) {
  return {{"id", id},          {"content", content},       {"single_word", !special}, {"lstrip", special},
          {"rstrip", special}, {"normalized", normalized}, {"special", special}};
}

json file(json normalizer, json pre_tokenizer, json model, json decoder, json tokens) {
  return {{"added_tokens", std::move(tokens)},
          {"normalizer", std::move(normalizer)},
          {"pre_tokenizer", std::move(pre_tokenizer)},
          {"model", std::move(model)},
          {"decoder", std::move(decoder)}};
}

json byte_level_model(bool ignore_merges) {
  json vocab;
  for (int byte = 0; byte < 256; ++byte) {
    const char raw = static_cast<char>(static_cast<unsigned char>(byte));
    vocab[ByteAlphabet::get().encode({&raw, 1})] = byte;
  }
  vocab["he"] = 256;
  vocab["ll"] = 257;
  vocab["hell"] = 258;
  return {{"type", "BPE"}, {"vocab", vocab}, {"merges", {"h e", "l l", "he ll"}}, {"ignore_merges", ignore_merges}};
}

json sentencepiece_model() {
  json vocab = {{"<unk>", 0}, {"\u2581", 1}, {"a", 2}, {"b", 3}, {"\u2581a", 4}, {"ab", 5}, {"\u2581\u2581", 6}};
  for (int byte = 0; byte < 256; ++byte) {
    char name[8];
    std::snprintf(name, sizeof name, "<0x%02X>", static_cast<unsigned>(byte));
    vocab[name] = byte + 7;
  }
  return {{"type", "BPE"},        {"vocab", vocab},   {"merges", {"a b", "\u2581 a", "\u2581 \u2581"}},
          {"unk_token", "<unk>"}, {"fuse_unk", true}, {"byte_fallback", true}};
}

std::unique_ptr<Tokenizer> made(const json& file) {
  auto tokenizer = Tokenizer::from_json(file.dump());
  if (!tokenizer.ok()) std::abort();
  return std::move(tokenizer).value();
}

struct Kind {
  std::unique_ptr<Tokenizer> tokenizer;
  bool is_lossless = false;  // of valid UTF-8
};

json typed(const char* type) { return {{"type", type}}; }
json sequence(const char* key, json parts) { return {{"type", "Sequence"}, {key, std::move(parts)}}; }

std::vector<Kind> make_kinds() {
  const json bytes = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}};
  const json specials = {added(259, "<s>", true, false), added(260, "<t>", false, false)};
  const json replace = {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "\u2581"}};
  const json unreplace = {{"type", "Replace"}, {"pattern", {{"String", "\u2581"}}}, {"content", " "}};
  const json metaspace = {{"type", "Metaspace"}, {"replacement", "\u2581"}, {"prepend_scheme", "first"}};
  const json normalizers = {typed("NFKC"),
                            typed("Lowercase"),
                            typed("StripAccents"),
                            typed("Nmt"),
                            {{"type", "Strip"}, {"strip_left", true}, {"strip_right", true}}};
  json pieces = json::array();  // a list of pairs would be taken for an object
  for (const auto& [piece, score] : {std::pair("<unk>", 0.0), std::pair("\u2581", -1.0), std::pair("a", -1.5),
                                     std::pair("ab", -2.0), std::pair("\u2581a", -1.2), std::pair("the", -3.0)}) {
    pieces.push_back(json::array({piece, score}));
  }
  const json words = {{"[UNK]", 0}, {"a", 1}, {"##a", 2}, {"the", 3}, {"##b", 4}};
  const json bert = {{"type", "BertNormalizer"},
                     {"clean_text", true},
                     {"handle_chinese_chars", true},
                     {"strip_accents", nullptr},
                     {"lowercase", true}};
  std::vector<Kind> kinds;
  kinds.push_back({made(file(nullptr, bytes, byte_level_model(false), typed("ByteLevel"), json::array())), true});
  kinds.push_back({made(file(typed("NFC"), bytes, byte_level_model(true), typed("ByteLevel"), specials)), false});
  kinds.push_back({made(file(sequence("normalizers", {{{"type", "Prepend"}, {"prepend", "\u2581"}}, replace}), nullptr,
                             sentencepiece_model(),
                             sequence("decoders", {unreplace,
                                                   typed("ByteFallback"),
                                                   typed("Fuse"),
                                                   {{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}}}),
                             {added(263, "<s>", true, false), added(5, "ab", false, true)})),
                   false});
  kinds.push_back({made(file(sequence("normalizers", normalizers), metaspace,
                             {{"type", "Unigram"}, {"unk_id", 0}, {"vocab", pieces}}, metaspace, json::array())),
                   false});
  kinds.push_back(
      {made(file(bert, typed("BertPreTokenizer"), {{"type", "WordPiece"}, {"unk_token", "[UNK]"}, {"vocab", words}},
                 {{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}}, json::array())),
       false});
  return kinds;
}

void check(const Kind& kind, std::string_view text) {
  const auto encoding = kind.tokenizer->encode(text);
  for (const auto& [begin, end] : encoding.offsets) {
    if (begin > end || end > text.size()) std::abort();
  }
  const std::string whole = kind.tokenizer->decode(encoding.ids, false);
  if (kind.is_lossless && graft::is_valid_utf8(text) && whole != text) std::abort();
  std::string steps;
  IncrementalDetokenizer stream(*kind.tokenizer, false);
  for (const int32_t id : encoding.ids) {
    const std::string more = stream.push(id);
    if (!graft::is_valid_utf8(more)) std::abort();
    steps += more;
  }
  if (steps + stream.finish() != whole) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::vector<Kind> kinds = make_kinds();
  for (const Kind& kind : kinds) check(kind, {reinterpret_cast<const char*>(data), size});
  return 0;
}
