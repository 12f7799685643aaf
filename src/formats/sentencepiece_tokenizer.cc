#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "base/json.h"
#include "base/strings.h"
#include "formats/sentencepiece.h"

namespace graft::formats {
namespace {

using nlohmann::ordered_json;
using Piece = SentencePieceModel::Piece;
using PieceType = SentencePieceModel::PieceType;

constexpr std::string_view kSpace = "\xE2\x96\x81";  // U+2581, how pieces spell a space
constexpr size_t kLongestPiece = 1024;               // bytes: all ways to cut a piece in two are looked up

struct Merge {
  std::string_view left;
  std::string_view right;
  float score = 0;
  size_t left_length = 0;  // in characters
  size_t right_length = 0;
};

bool is_continuation(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

size_t count_characters(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) { return !is_continuation(c); }));
}

// What text can become by merging; the others stand for text of their own.
bool is_mergeable(const Piece& piece) {
  return piece.type == PieceType::kNormal || piece.type == PieceType::kUserDefined || piece.type == PieceType::kUnused;
}

using Ids = std::unordered_map<std::string_view, size_t>;

// Every way to make a piece out of two, the best piece first; of one piece's, the one with the longest left part.
std::vector<Merge> merges_of(const SentencePieceModel& model, const Ids& ids) {
  std::vector<Merge> merges;
  for (const Piece& piece : model.pieces) {
    if (!is_mergeable(piece)) continue;
    const size_t length = count_characters(piece.text);
    size_t left_length = 0;
    std::vector<std::pair<std::pair<size_t, size_t>, Merge>> own;
    for (size_t cut = 1; cut < piece.text.size(); ++cut) {
      if (is_continuation(piece.text[cut])) continue;
      ++left_length;
      const std::string_view left = std::string_view(piece.text).substr(0, cut);
      const std::string_view right = std::string_view(piece.text).substr(cut);
      const auto left_id = ids.find(left);
      const auto right_id = ids.find(right);
      if (left_id == ids.end() || right_id == ids.end()) continue;
      own.push_back(
          {{left_id->second, right_id->second}, {left, right, piece.score, left_length, length - left_length}});
    }
    std::sort(own.begin(), own.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    for (const auto& [order, merge] : own) merges.push_back(merge);
  }
  std::stable_sort(merges.begin(), merges.end(), [](const Merge& a, const Merge& b) {
    if (a.score != b.score) return a.score > b.score;
    if (a.left_length != b.left_length) return a.left_length > b.left_length;
    return a.right_length > b.right_length;
  });
  return merges;
}

ordered_json typed(const char* type) { return {{"type", type}}; }

ordered_json replace(const char* kind, std::string_view pattern, std::string_view content) {
  return {{"type", "Replace"}, {"pattern", {{kind, pattern}}}, {"content", content}};
}

ordered_json sequence(const char* key, ordered_json parts) { return {{"type", "Sequence"}, {key, std::move(parts)}}; }

std::string base64(std::string_view bytes) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t bits = 0;
    for (size_t k = 0; k < 3; ++k) bits = (bits << 8) | (i + k < bytes.size() ? static_cast<uint8_t>(bytes[i + k]) : 0);
    for (size_t k = 0; k < 4; ++k) text += i + k <= bytes.size() ? kDigits[(bits >> (18 - 6 * k)) & 63] : '=';
  }
  return text;
}

bool puts_space_in_front(const SentencePieceModel& model, const SentencePieceOptions& options) {
  return options.add_prefix_space && (model.add_dummy_prefix || !options.legacy);
}

ordered_json normalizer_json(const SentencePieceModel& model, const SentencePieceOptions& options) {
  ordered_json parts = ordered_json::array();
  if (!model.charsmap.empty()) {
    parts.push_back({{"type", "Precompiled"}, {"precompiled_charsmap", base64(model.charsmap)}});
  }
  if (model.remove_extra_whitespaces) {
    parts.push_back(replace("Regex", "\\A +| +\\z", ""));
    parts.push_back(replace("Regex", " {2,}", " "));
  }
  if (!options.legacy) return parts.empty() ? ordered_json() : sequence("normalizers", std::move(parts));
  if (puts_space_in_front(model, options)) {
    parts.push_back({{"type", "Prepend"}, {"prepend", model.escape_whitespaces ? kSpace : " "}});
  }
  if (model.escape_whitespaces) parts.push_back(replace("String", " ", kSpace));
  return sequence("normalizers", std::move(parts));
}

ordered_json pre_tokenizer_json(const SentencePieceModel& model, const SentencePieceOptions& options) {
  if (options.legacy) return {};
  return {{"type", "Metaspace"},
          {"replacement", kSpace},
          {"prepend_scheme", puts_space_in_front(model, options) ? "first" : "never"},
          {"split", false}};
}

ordered_json decoder_json(const SentencePieceModel& model, const SentencePieceOptions& options) {
  ordered_json parts = {replace("String", kSpace, " "), typed("ByteFallback"), typed("Fuse")};
  if (puts_space_in_front(model, options)) {
    parts.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  }
  return sequence("decoders", std::move(parts));
}

ordered_json added_tokens_json(const SentencePieceModel& model) {
  ordered_json added = ordered_json::array();
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    const Piece& piece = model.pieces[id];
    const bool special = piece.type == PieceType::kControl || piece.type == PieceType::kUnknown;
    if ((!special && piece.type != PieceType::kUserDefined) || piece.text.empty()) continue;
    added.push_back({{"id", id},
                     {"content", piece.text},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", special}});
  }
  return added;
}

Result<std::string> token_of(const SentencePieceModel& model, int64_t id, const char* name) {
  if (id < 0 || static_cast<size_t>(id) >= model.pieces.size()) {
    return invalid(std::string(name) + " " + std::to_string(id) + " is outside the vocabulary");
  }
  return model.pieces[static_cast<size_t>(id)].text;
}

Result<ordered_json> post_processor_json(const SentencePieceModel& model, const SentencePieceOptions& options) {
  if (!options.add_bos && !options.add_eos) return ordered_json();
  ordered_json specials = ordered_json::object();
  ordered_json single = ordered_json::array();
  ordered_json pair = ordered_json::array();
  const auto special = [&](const std::string& token, int type) {
    return ordered_json{{"SpecialToken", {{"id", token}, {"type_id", type}}}};
  };
  std::string bos;
  std::string eos;
  if (options.add_bos) {
    GRAFT_TRY(bos, token_of(model, model.bos_id, "bos_id"));
    specials[bos] = {{"id", bos}, {"ids", {model.bos_id}}, {"tokens", {bos}}};
  }
  if (options.add_eos) {
    GRAFT_TRY(eos, token_of(model, model.eos_id, "eos_id"));
    specials[eos] = {{"id", eos}, {"ids", {model.eos_id}}, {"tokens", {eos}}};
  }
  for (const auto& [name, type] : {std::pair("A", 0), std::pair("B", 1)}) {
    const ordered_json text = {{"Sequence", {{"id", name}, {"type_id", type}}}};
    for (ordered_json* list : {&single, &pair}) {
      if (list == &single && type == 1) continue;
      if (options.add_bos) list->push_back(special(bos, type));
      list->push_back(text);
      if (options.add_eos) list->push_back(special(eos, type));
    }
  }
  return ordered_json{{"type", "TemplateProcessing"}, {"single", single}, {"pair", pair}, {"special_tokens", specials}};
}

std::string json_text(std::string_view text) { return ordered_json(text).dump(); }

// Written by hand: the lists are too large for generic JSON objects to be filled quickly.
std::string bpe_json(const SentencePieceModel& model, const Ids& ids, const std::string& unk) {
  const ordered_json head = {{"type", "BPE"},
                             {"dropout", nullptr},
                             {"unk_token", unk},
                             {"continuing_subword_prefix", nullptr},
                             {"end_of_word_suffix", nullptr},
                             {"fuse_unk", true},
                             {"byte_fallback", model.byte_fallback},
                             {"ignore_merges", false}};
  std::string text = head.dump();
  text.back() = ',';
  text += "\"vocab\":{";
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    if (id > 0) text += ',';
    text += json_text(model.pieces[id].text) + ":" + std::to_string(id);
  }
  text += "},\"merges\":[";
  bool first = true;
  for (const Merge& merge : merges_of(model, ids)) {
    if (!std::exchange(first, false)) text += ',';
    text += "[" + json_text(merge.left) + "," + json_text(merge.right) + "]";
  }
  return text + "]}";
}

std::string unigram_json(const SentencePieceModel& model) {
  const ordered_json head = {{"type", "Unigram"}, {"unk_id", model.unk_id}, {"byte_fallback", model.byte_fallback}};
  std::string text = head.dump();
  text.back() = ',';
  text += "\"vocab\":[";
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    if (id > 0) text += ',';
    text += "[" + json_text(model.pieces[id].text) + "," + ordered_json(model.pieces[id].score).dump() + "]";
  }
  return text + "]}";
}

Result<Ids> index(const SentencePieceModel& model) {
  Ids ids;
  ids.reserve(model.pieces.size());
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    const Piece& piece = model.pieces[id];
    const std::string place = "piece " + std::to_string(id) + " '" + printable(piece.text) + "'";
    if (!std::isfinite(piece.score)) return invalid(place + ": its score is not a number");
    if (piece.text.size() > kLongestPiece)
      return invalid(place + ": longer than " + std::to_string(kLongestPiece) + " bytes");
    if (!ids.emplace(piece.text, id).second) return invalid(place + ": there is another with this text");
  }
  return ids;
}

// Whether transformers' class puts BOS in front, or EOS behind, where the config does not say.
SentencePieceOptions defaults_of(const std::string& tokenizer_class) {
  const auto begins = [&](std::string_view name) { return tokenizer_class.starts_with(name); };
  const bool is_llama = tokenizer_class.empty() || begins("Llama") || begins("CodeLlama") || begins("Gemma");
  return {.add_bos = is_llama, .add_eos = begins("T5")};
}

}  // namespace

Result<std::string> tokenizer_json_from_sentencepiece(const SentencePieceModel& model,
                                                      const SentencePieceOptions& options) {
  GRAFT_TRY(const Ids ids, index(model));
  GRAFT_TRY(const std::string unk, token_of(model, model.unk_id, "unk_id"));
  GRAFT_TRY(const ordered_json post_processor, post_processor_json(model, options));
  const ordered_json head = {{"version", "1.0"},
                             {"truncation", nullptr},
                             {"padding", nullptr},
                             {"added_tokens", added_tokens_json(model)},
                             {"normalizer", normalizer_json(model, options)},
                             {"pre_tokenizer", pre_tokenizer_json(model, options)},
                             {"post_processor", post_processor},
                             {"decoder", decoder_json(model, options)}};
  std::string text = head.dump();
  text.back() = ',';
  const bool is_bpe = model.kind == SentencePieceModel::Kind::kBpe;
  return text + "\"model\":" + (is_bpe ? bpe_json(model, ids, unk) : unigram_json(model)) + "}";
}

Result<std::string> tokenizer_json_from_sentencepiece_file(std::string_view bytes, std::string_view tokenizer_config) {
  GRAFT_TRY(const SentencePieceModel model, parse_sentencepiece(bytes));
  nlohmann::json config = nlohmann::json::object();
  if (!tokenizer_config.empty()) {
    GRAFT_TRY(config, parse_json(std::string(tokenizer_config)));
  }
  std::string tokenizer_class;
  const auto named = config.find("tokenizer_class");
  if (named != config.end() && named->is_string()) tokenizer_class = named->get<std::string>();
  SentencePieceOptions options = defaults_of(tokenizer_class);
  for (const auto& [key, option] :
       {std::pair("add_bos_token", &options.add_bos), std::pair("add_eos_token", &options.add_eos)}) {
    const auto entry = config.find(key);
    if (entry != config.end() && entry->is_boolean()) *option = entry->get<bool>();
  }
  if (tokenizer_class.empty() || tokenizer_class.starts_with("Llama")) {
    const auto legacy = config.find("legacy");
    options.legacy = legacy == config.end() || legacy->is_null() || *legacy == true;
    // There, null is as good as false.
    const auto prefix = config.find("add_prefix_space");
    options.add_prefix_space = prefix == config.end() || *prefix == true;
  }
  return tokenizer_json_from_sentencepiece(model, options);
}

}  // namespace graft::formats
