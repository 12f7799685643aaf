#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <optional>
#include <unordered_map>
#include <unordered_set>

#include "base/json.h"
#include "base/log.h"
#include "base/strings.h"
#include "formats/gguf_pre_tokenizer_name.h"
#include "formats/model_exports.h"

namespace graft::formats {
namespace {

using nlohmann::json;

// "tokenizer.ggml.token_type"
enum TokenType : int32_t { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };

struct Role {
  std::string_view token;  // in tokenizer_config.json
  std::string_view key;    // GGUF's spelling
};
constexpr std::array kRoles = {
    Role{"bos_token", "tokenizer.ggml.bos_token_id"},     Role{"eos_token", "tokenizer.ggml.eos_token_id"},
    Role{"unk_token", "tokenizer.ggml.unknown_token_id"}, Role{"sep_token", "tokenizer.ggml.seperator_token_id"},
    Role{"pad_token", "tokenizer.ggml.padding_token_id"}, Role{"cls_token", "tokenizer.ggml.cls_token_id"},
    Role{"mask_token", "tokenizer.ggml.mask_token_id"}};

struct Vocabulary {
  std::vector<std::string> tokens;  // by id; as many as the embedding has rows
  std::vector<int32_t> types;
  std::unordered_map<std::string, int32_t> ids;
};

Status add_token(Vocabulary& vocabulary, const std::string& text, const json& id, TokenType type) {
  const bool inside = id.is_number_unsigned() && id.get<uint64_t>() < vocabulary.tokens.size();
  if (!inside) return invalid("token '" + printable(text) + "' has an id beyond the embedding's rows");
  const auto index = id.get<size_t>();
  if (vocabulary.types[index] != kUnused && vocabulary.tokens[index] != text) {
    return invalid("tokens '" + printable(vocabulary.tokens[index]) + "' and '" + printable(text) + "' have one id");
  }
  vocabulary.tokens[index] = text;
  vocabulary.types[index] = type;
  vocabulary.ids[text] = static_cast<int32_t>(index);
  return {};
}

// Ids without a token are named as llama.cpp's converter does.
Result<Vocabulary> read_vocabulary(const json& tokenizer, int64_t size) {
  Vocabulary vocabulary;
  for (int64_t id = 0; id < size; ++id) vocabulary.tokens.push_back("[PAD" + std::to_string(id) + "]");
  vocabulary.types.assign(static_cast<size_t>(size), kUnused);
  const auto vocab = tokenizer["model"].find("vocab");
  if (vocab == tokenizer["model"].end() || !vocab->is_object()) return invalid("its model has no vocab");
  for (const auto& [text, id] : vocab->items()) GRAFT_CHECK_OK(add_token(vocabulary, text, id, kNormal));
  const json added = tokenizer.value("added_tokens", json::array());
  if (!added.is_array()) return invalid("added_tokens must be a list");
  for (const json& token : added) {
    if (!token.is_object() || !token.value("content", json()).is_string() || !token.contains("id")) {
      return invalid("an added token has no id or content");
    }
    const json special = token.value("special", json(false));
    const bool control = special.is_boolean() && special.get<bool>();
    GRAFT_CHECK_OK(add_token(vocabulary, token["content"].get_ref<const std::string&>(), token["id"],
                             control ? kControl : kUserDefined));
  }
  return vocabulary;
}

struct Merge {
  std::string left;
  std::string right;
};

// A list of "left right" or, since tokenizers 0.20, [left, right].
Result<std::vector<Merge>> read_merges(const json& model) {
  const auto list = model.find("merges");
  if (list == model.end() || !list->is_array()) return invalid("its model has no merges");
  std::vector<Merge> merges;
  for (const json& entry : *list) {
    if (entry.is_array() && entry.size() == 2 && entry[0].is_string() && entry[1].is_string()) {
      merges.push_back({entry[0].get<std::string>(), entry[1].get<std::string>()});
      continue;
    }
    const std::string text = entry.is_string() ? entry.get<std::string>() : "";
    const size_t space = text.find(' ');
    if (space == std::string::npos) return invalid("a merge is not of two tokens");
    merges.push_back({text.substr(0, space), text.substr(space + 1)});
  }
  return merges;
}

Status add_byte_level(const json& tokenizer, const std::vector<Merge>& merges, GgufFields& fields) {
  GRAFT_TRY(const std::string pre, gguf_pre_tokenizer_name(tokenizer));
  fields.add_text("tokenizer.ggml.model", "gpt2");
  fields.add_text("tokenizer.ggml.pre", pre);
  std::vector<std::string> lines;
  for (const Merge& merge : merges) {
    if (merge.left.find(' ') != std::string::npos || merge.right.find(' ') != std::string::npos) {
      return unsupported("a merge holds a space, which GGUF cannot say");
    }
    lines.push_back(merge.left + " " + merge.right);
  }
  fields.add_texts("tokenizer.ggml.merges", lines);
  return {};
}

bool is_byte_token(const std::string& text) {
  return text.size() == 6 && text.starts_with("<0x") && text.ends_with(">") &&
         text.find_first_not_of("0123456789ABCDEFabcdef", 3) == 5;
}

// llama.cpp merges the neighbours whose union has the highest score; so a token scores by its first merge. Tokens that
// no merge makes are last: they are single characters, bytes and special tokens.
std::vector<float> scores_of(const Vocabulary& vocabulary, const std::vector<Merge>& merges) {
  std::vector<float> scores(vocabulary.tokens.size(), -1e6F);
  std::vector<bool> made(vocabulary.tokens.size(), false);
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const auto id = vocabulary.ids.find(merges[rank].left + merges[rank].right);
    if (id == vocabulary.ids.end() || made[static_cast<size_t>(id->second)]) continue;
    made[static_cast<size_t>(id->second)] = true;
    scores[static_cast<size_t>(id->second)] = -static_cast<float>(rank);
  }
  return scores;
}

Status add_sentence_piece(const json& tokenizer, const std::vector<Merge>& merges, Vocabulary& vocabulary,
                          GgufFields& fields) {
  GRAFT_TRY(const bool space_prefix, sentence_piece_space_prefix(tokenizer));
  const json unknown = tokenizer["model"].value("unk_token", json());
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    if (is_byte_token(vocabulary.tokens[id])) vocabulary.types[id] = kByte;
    if (unknown.is_string() && vocabulary.tokens[id] == unknown.get_ref<const std::string&>()) {
      vocabulary.types[id] = kUnknown;
    }
  }
  fields.add_text("tokenizer.ggml.model", "llama");
  fields.add_text("tokenizer.ggml.pre", "default");
  fields.add_bool("tokenizer.ggml.add_space_prefix", space_prefix);
  fields.add_f32s("tokenizer.ggml.scores", scores_of(vocabulary, merges));
  return {};
}

// The tokens that the post-processor puts before and behind a text; empty where there are none.
struct Frame {
  std::string before;
  std::string behind;
};

Result<Frame> frame_of_template(const json& processor) {
  Frame frame;
  const json single = processor.value("single", json::array());
  const auto special = [](const json& piece) {
    const json token = piece.is_object() ? piece.value("SpecialToken", json()) : json();
    const json id = token.is_object() ? token.value("id", json()) : json();
    return id.is_string() ? id.get<std::string>() : std::string();
  };
  bool text_seen = false;
  for (const json& piece : single) {
    const std::string token = special(piece);
    if (token.empty()) {
      text_seen = true;
      continue;
    }
    std::string& place = text_seen ? frame.behind : frame.before;
    if (!place.empty()) return unsupported("its post-processor adds several tokens on one side, which GGUF cannot say");
    place = token;
  }
  return frame;
}

Result<Frame> read_frame(const json& tokenizer) {
  const json processor = tokenizer.value("post_processor", json());
  if (!processor.is_object()) return Frame{};
  const json inner = processor.value("processors", json());
  for (const json& step : inner.is_array() ? inner : json::array({processor})) {
    if (step.is_object() && step.value("type", json()) == "TemplateProcessing") return frame_of_template(step);
  }
  return Frame{};
}

// The ids of the named special tokens; BOS and EOS also from the post-processor and the configuration.
Status add_special_ids(const ModelSource& source, const Frame& frame, const Vocabulary& vocabulary,
                       GgufFields& fields) {
  std::map<std::string, std::string> tokens = source.special_tokens();
  if (!frame.before.empty()) tokens["bos_token"] = frame.before;
  if (!frame.behind.empty()) tokens.emplace("eos_token", frame.behind);
  if (!frame.behind.empty() && tokens["eos_token"] != frame.behind) {
    return unsupported("its post-processor ends a text with '" + printable(frame.behind) +
                       "', which is not its end-of-sequence token; GGUF cannot say that");
  }
  for (const Role& role : kRoles) {
    const auto token = tokens.find(std::string(role.token));
    const auto id = token == tokens.end() ? vocabulary.ids.end() : vocabulary.ids.find(token->second);
    if (id != vocabulary.ids.end()) fields.add_u32(role.key, static_cast<uint32_t>(id->second));
  }
  const ModelSpec& spec = source.spec();
  if (!fields.has(kRoles[0].key) && spec.bos_token_id) {
    fields.add_u32(kRoles[0].key, static_cast<uint32_t>(*spec.bos_token_id));
  }
  // What else ends a completion; the first of these places that is free.
  const auto eos = tokens.find("eos_token");
  for (const int32_t id : spec.eos_token_ids) {
    if (eos != tokens.end() && vocabulary.tokens[static_cast<size_t>(id)] == eos->second) continue;
    bool placed = false;
    for (const std::string_view key :
         {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"}) {
      if (placed || fields.has(key)) continue;
      fields.add_u32(key, static_cast<uint32_t>(id));
      placed = true;
    }
    if (!placed) log_warn("GGUF has no place for a further end-of-sequence token, id {}", id);
  }
  return {};
}

Status add_tokenizer(const ModelSource& source, const json& tokenizer, GgufFields& fields) {
  if (!tokenizer.is_object() || !tokenizer.value("model", json()).is_object()) return invalid("it has no model");
  const json& model = tokenizer["model"];
  if (model.value("type", json()) != "BPE") {
    return unsupported("only tokenizers with a BPE model can be written as GGUF, not '" +
                       printable(model.value("type", json("?")).dump()) + "'");
  }
  GRAFT_TRY(Vocabulary vocabulary, read_vocabulary(tokenizer, source.spec().vocab_size));
  GRAFT_TRY(const std::vector<Merge> merges, read_merges(model));
  GRAFT_TRY(const Frame frame, read_frame(tokenizer));
  if (model.value("byte_fallback", json(false)) == true) {
    GRAFT_CHECK_OK(add_sentence_piece(tokenizer, merges, vocabulary, fields));
  } else {
    GRAFT_CHECK_OK(add_byte_level(tokenizer, merges, fields));
  }
  fields.add_texts("tokenizer.ggml.tokens", vocabulary.tokens);
  fields.add_i32s("tokenizer.ggml.token_type", vocabulary.types);
  GRAFT_CHECK_OK(add_special_ids(source, frame, vocabulary, fields));
  fields.add_bool("tokenizer.ggml.add_bos_token", !frame.before.empty());
  fields.add_bool("tokenizer.ggml.add_eos_token", !frame.behind.empty());
  return {};
}

}  // namespace

Status add_gguf_tokenizer(const ModelSource& source, GgufFields& fields) {
  GRAFT_TRY(const json tokenizer, parse_json(source.tokenizer_json()));
  if (const Status status = add_tokenizer(source, tokenizer, fields); !status.ok()) {
    return at("the tokenizer of " + source.path().string(), status.error());
  }
  if (!source.chat_template().empty()) fields.add_text("tokenizer.chat_template", source.chat_template());
  return {};
}

}  // namespace graft::formats
