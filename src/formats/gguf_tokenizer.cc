#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/log.h"
#include "base/strings.h"
#include "formats/gguf_byte_level.h"
#include "formats/gguf_model.h"
#include "formats/sentencepiece.h"

namespace graft::formats {
namespace {

using nlohmann::ordered_json;

// "tokenizer.ggml.token_type"
enum TokenType : int64_t { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };

struct Vocabulary {
  std::vector<std::string_view> tokens;
  std::vector<int64_t> types;
  std::unordered_map<std::string_view, size_t> ids;  // without the unused tokens that pad the vocabulary
};

Result<Vocabulary> read_vocabulary(const GgufMetadata& metadata) {
  Vocabulary vocabulary;
  GRAFT_TRY(const auto* tokens, metadata.texts("tokenizer.ggml.tokens"));
  vocabulary.tokens = *tokens;
  vocabulary.types.assign(tokens->size(), kNormal);
  if (metadata.has("tokenizer.ggml.token_type")) {
    GRAFT_TRY(vocabulary.types, metadata.integers("tokenizer.ggml.token_type"));
  }
  if (vocabulary.types.size() != tokens->size()) {
    return invalid("tokenizer.ggml.token_type and tokenizer.ggml.tokens are not of one length");
  }
  for (size_t id = 0; id < tokens->size(); ++id) {
    if (vocabulary.types[id] == kUnused) continue;
    if (!vocabulary.ids.emplace((*tokens)[id], id).second) {
      return invalid("tokenizer.ggml.tokens: token '" + printable((*tokens)[id]) + "' is there twice");
    }
  }
  return vocabulary;
}

Status check_merge(std::string_view merge, const Vocabulary& vocabulary) {
  const Error wrong =
      invalid("tokenizer.ggml.merges: '" + printable(merge) + "' is not two tokens whose union is a token");
  const size_t space = merge.find(' ');
  if (space == std::string_view::npos || merge.find(' ', space + 1) != std::string_view::npos) return wrong;
  const std::string_view left = merge.substr(0, space);
  const std::string_view right = merge.substr(space + 1);
  const std::string both = std::string(left) + std::string(right);
  for (const std::string_view token : {left, right, std::string_view(both)}) {
    if (vocabulary.ids.find(token) == vocabulary.ids.end()) return wrong;
  }
  return {};
}

std::string json_text(std::string_view text) { return ordered_json(text).dump(); }

// Written by hand: the vocabulary is too large for a generic JSON object to be filled quickly in order.
std::string vocabulary_json(const Vocabulary& vocabulary) {
  std::string out = "{";
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    if (vocabulary.types[id] == kUnused) continue;
    if (out.size() > 1) out += ',';
    out += json_text(vocabulary.tokens[id]) + ":" + std::to_string(id);
  }
  return out + "}";
}

Result<std::string> merges_json(const GgufMetadata& metadata, const Vocabulary& vocabulary) {
  GRAFT_TRY(const auto* merges, metadata.texts("tokenizer.ggml.merges"));
  std::string out = "[";
  for (const std::string_view merge : *merges) {
    GRAFT_CHECK_OK(check_merge(merge, vocabulary));
    if (out.size() > 1) out += ',';
    out += json_text(merge);
  }
  return out + "]";
}

ordered_json added_tokens_json(const Vocabulary& vocabulary) {
  ordered_json added = ordered_json::array();
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    const int64_t type = vocabulary.types[id];
    if (type != kControl && type != kUserDefined) continue;
    added.push_back({{"id", id},
                     {"content", vocabulary.tokens[id]},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", type == kControl}});
  }
  return added;
}

Result<std::string> token_text(const GgufMetadata& metadata, std::string_view key, const Vocabulary& vocabulary) {
  GRAFT_TRY(const int64_t id, metadata.integer(key));
  if (id < 0 || static_cast<size_t>(id) >= vocabulary.tokens.size()) {
    return invalid("metadata key '" + std::string(key) + "' is outside the vocabulary");
  }
  return std::string(vocabulary.tokens[static_cast<size_t>(id)]);
}

// Puts BOS before and EOS behind a text, as the file asks for.
Result<ordered_json> post_processor_json(const GgufMetadata& metadata, const GgufByteLevel& pre,
                                         const Vocabulary& vocabulary) {
  GRAFT_TRY(const bool add_bos, metadata.boolean_or("tokenizer.ggml.add_bos_token", pre.add_bos));
  GRAFT_TRY(const bool add_eos, metadata.boolean_or("tokenizer.ggml.add_eos_token", false));
  if (!add_bos && !add_eos) return ordered_json();
  ordered_json single = ordered_json::array();
  ordered_json pair = ordered_json::array();
  ordered_json specials = ordered_json::object();
  const auto add_special = [&](std::string_view key, std::vector<std::pair<ordered_json*, int>> places) -> Status {
    GRAFT_TRY(const std::string token, token_text(metadata, key, vocabulary));
    const auto id = vocabulary.ids.find(token);
    if (id == vocabulary.ids.end()) return invalid("metadata key '" + std::string(key) + "' names an unused token");
    specials[token] = {{"id", token}, {"ids", {id->second}}, {"tokens", {token}}};
    for (const auto& [where, type] : places) where->push_back({{"SpecialToken", {{"id", token}, {"type_id", type}}}});
    return {};
  };
  const auto text = [](const char* name, int type) {
    return ordered_json{{"Sequence", {{"id", name}, {"type_id", type}}}};
  };
  if (add_bos) GRAFT_CHECK_OK(add_special("tokenizer.ggml.bos_token_id", {{&single, 0}, {&pair, 0}}));
  single.push_back(text("A", 0));
  pair.push_back(text("A", 0));
  if (add_eos) GRAFT_CHECK_OK(add_special("tokenizer.ggml.eos_token_id", {{&single, 0}, {&pair, 0}}));
  if (add_bos) GRAFT_CHECK_OK(add_special("tokenizer.ggml.bos_token_id", {{&pair, 1}}));
  pair.push_back(text("B", 1));
  if (add_eos) GRAFT_CHECK_OK(add_special("tokenizer.ggml.eos_token_id", {{&pair, 1}}));
  return ordered_json{{"type", "TemplateProcessing"}, {"single", single}, {"pair", pair}, {"special_tokens", specials}};
}

Result<std::string> byte_level_json(const GgufMetadata& metadata) {
  GRAFT_TRY(const std::string name, metadata.text_or("tokenizer.ggml.pre", "default"));
  if (name == "default") {
    log_warn(
        "this GGUF file does not say how its tokenizer splits text (tokenizer.ggml.pre); llama.cpp's default is used");
  }
  GRAFT_TRY(const GgufByteLevel pre, gguf_byte_level(name));
  GRAFT_TRY(const Vocabulary vocabulary, read_vocabulary(metadata));
  GRAFT_TRY(const std::string merges, merges_json(metadata, vocabulary));
  GRAFT_TRY(const ordered_json post_processor, post_processor_json(metadata, pre, vocabulary));
  const ordered_json decoder = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}};
  const ordered_json head = {{"version", "1.0"},
                             {"truncation", nullptr},
                             {"padding", nullptr},
                             {"added_tokens", added_tokens_json(vocabulary)},
                             {"normalizer", pre.normalizer},
                             {"pre_tokenizer", pre.stages},
                             {"post_processor", post_processor},
                             {"decoder", decoder}};
  const ordered_json model = {{"type", "BPE"},
                              {"dropout", nullptr},
                              {"unk_token", nullptr},
                              {"continuing_subword_prefix", nullptr},
                              {"end_of_word_suffix", nullptr},
                              {"fuse_unk", false},
                              {"byte_fallback", false},
                              {"ignore_merges", pre.ignore_merges}};
  std::string text = head.dump();
  text.pop_back();
  text += ",\"model\":" + model.dump();
  text.pop_back();
  return text + ",\"vocab\":" + vocabulary_json(vocabulary) + ",\"merges\":" + merges + "}}";
}

// SentencePiece's BPE. llama.cpp never cleans white space up in this kind.
Result<std::string> sentencepiece_json(const GgufMetadata& metadata) {
  constexpr int64_t kLastType = 6;
  SentencePieceModel model;
  model.kind = SentencePieceModel::Kind::kBpe;
  model.remove_extra_whitespaces = false;
  GRAFT_TRY(const auto* tokens, metadata.texts("tokenizer.ggml.tokens"));
  GRAFT_TRY(const std::vector<double> scores, metadata.numbers("tokenizer.ggml.scores"));
  GRAFT_TRY(const std::vector<int64_t> types, metadata.integers("tokenizer.ggml.token_type"));
  if (scores.size() != tokens->size() || types.size() != tokens->size()) {
    return invalid("tokenizer.ggml.tokens, .scores and .token_type are not of one length");
  }
  for (size_t id = 0; id < tokens->size(); ++id) {
    if (types[id] < kNormal || types[id] > kLastType) {
      return invalid("tokenizer.ggml.token_type[" + std::to_string(id) + "]: unknown type " +
                     std::to_string(types[id]));
    }
    model.pieces.push_back({.text = std::string((*tokens)[id]),
                            .score = static_cast<float>(scores[id]),
                            .type = static_cast<SentencePieceModel::PieceType>(types[id])});
    model.byte_fallback = model.byte_fallback || types[id] == kByte;
  }
  SentencePieceOptions options;
  GRAFT_TRY(model.unk_id, metadata.integer_or("tokenizer.ggml.unknown_token_id", 0));
  GRAFT_TRY(model.bos_id, metadata.integer_or("tokenizer.ggml.bos_token_id", 1));
  GRAFT_TRY(model.eos_id, metadata.integer_or("tokenizer.ggml.eos_token_id", 2));
  GRAFT_TRY(model.add_dummy_prefix, metadata.boolean_or("tokenizer.ggml.add_space_prefix", true));
  GRAFT_TRY(options.add_bos, metadata.boolean_or("tokenizer.ggml.add_bos_token", true));
  GRAFT_TRY(options.add_eos, metadata.boolean_or("tokenizer.ggml.add_eos_token", false));
  return tokenizer_json_from_sentencepiece(model, options);
}

}  // namespace

Result<std::string> tokenizer_json_from_gguf(const GgufMetadata& metadata) {
  GRAFT_TRY(const std::string kind, metadata.text("tokenizer.ggml.model"));
  if (kind == "gpt2") return byte_level_json(metadata);
  if (kind == "llama") return sentencepiece_json(metadata);
  return unsupported("tokenizer kind '" + printable(kind) +
                     "' is not supported in GGUF files; supported: gpt2 (byte-level BPE), llama (SentencePiece's BPE)");
}

}  // namespace graft::formats
