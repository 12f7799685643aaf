#include "text/stages/bpe.h"

#include <algorithm>
#include <array>
#include <bitset>
#include <cstdio>
#include <optional>

#include "base/strings.h"
#include "text/stages/byte_level.h"
#include "text/stages/flat_hash.h"
#include "text/stages/json_fields.h"
#include "text/stages/merge_table.h"
#include "text/stages/word_cache.h"
#include "text/unicode/code_points.h"

namespace graft::text {
namespace {

struct BpeOptions {
  std::optional<std::string> unk_token;
  bool fuse_unk = false;
  bool byte_fallback = false;
  bool ignore_merges = false;
};

// Byte-pair encoding (Sennrich et al. 2016, arXiv:1508.07909) as in `tokenizers`.
class Bpe : public Model {
 public:
  static Result<std::unique_ptr<Model>> make(TokenizerFile& file, BpeOptions options);

  void tokenize(std::string_view word, bool byte_level, std::vector<ModelToken>& out) const override;
  [[nodiscard]] int32_t token_to_id(std::string_view token) const override { return ids_.find(token); }
  [[nodiscard]] std::string_view id_to_token(int32_t id) const override {
    return id >= 0 && id < id_limit() ? std::string_view(tokens_[static_cast<size_t>(id)]) : std::string_view();
  }
  [[nodiscard]] int32_t id_limit() const override { return static_cast<int32_t>(tokens_.size()); }

 private:
  // Collects the first symbols of a word: known characters, and what stands for unknown ones.
  class Symbols;

  Status read_vocab(TokenizerFile& file);
  Status read_merges(const TokenizerFile& file);
  Status prepare_unknown();
  void prepare_bytes();
  void append_initial(std::string_view word, bool byte_level, std::vector<ModelToken>& out) const;

  BpeOptions options_;
  std::vector<std::string> tokens_;  // by id; empty where the vocabulary has a hole
  StringIds ids_;
  std::vector<std::string> raw_tokens_;  // the tokens as raw bytes, for whole words in byte-level pipelines
  StringIds raw_ids_;
  std::array<int32_t, 256> byte_ids_{};      // the symbol of a byte in the byte-level alphabet, or -1
  std::array<int32_t, 256> fallback_ids_{};  // <0x00> to <0xFF>, or -1
  int32_t unk_id_ = -1;
  MergeTable merges_;
  mutable WordCache byte_cache_;  // by words as raw bytes
  mutable WordCache text_cache_;
};

class Bpe::Symbols {
 public:
  Symbols(const Bpe& bpe, std::vector<ModelToken>& out) : bpe_(bpe), out_(out) {}

  void known(int32_t id, size_t size) {
    flush();
    out_.push_back({id, static_cast<uint32_t>(size)});
  }
  // `spelling`: the character as the vocabulary would spell it; `size`: the bytes of the word that it takes.
  void unknown(std::string_view spelling, size_t size) {
    if (bpe_.options_.byte_fallback && fall_back(spelling, size)) return;
    if (bpe_.unk_id_ < 0) return;
    if (!bpe_.options_.fuse_unk) flush();
    pending_ += static_cast<uint32_t>(size);
  }
  void flush() {
    if (pending_ > 0) out_.push_back({bpe_.unk_id_, pending_});
    pending_ = 0;
  }

 private:
  // One token per byte, where the vocabulary has all of them. As in `tokenizers`, an unknown token that waits to be
  // fused with the next comes after them.
  bool fall_back(std::string_view spelling, size_t size) {
    const auto id = [&](char c) { return bpe_.fallback_ids_[static_cast<uint8_t>(c)]; };
    if (std::any_of(spelling.begin(), spelling.end(), [&](char c) { return id(c) < 0; })) return false;
    for (size_t i = 0; i < spelling.size(); ++i) {
      const size_t covered = spelling.size() == size ? 1 : (i == 0 ? size : 0);
      out_.push_back({id(spelling[i]), static_cast<uint32_t>(covered)});
    }
    return true;
  }

  const Bpe& bpe_;
  std::vector<ModelToken>& out_;
  uint32_t pending_ = 0;
};

Result<std::unique_ptr<Model>> Bpe::make(TokenizerFile& file, BpeOptions options) {
  auto bpe = std::make_unique<Bpe>();
  bpe->options_ = std::move(options);
  GRAFT_CHECK_OK(bpe->read_vocab(file));
  GRAFT_CHECK_OK(bpe->read_merges(file));
  bpe->prepare_bytes();
  GRAFT_CHECK_OK(bpe->prepare_unknown());
  return std::unique_ptr<Model>(std::move(bpe));
}

Status Bpe::read_vocab(TokenizerFile& file) {
  int32_t largest = -1;
  for (const auto& [token, id] : file.vocab) {
    const std::string path = "model.vocab['" + printable(token) + "']";
    GRAFT_TRY(const int32_t checked, token_id_from(nlohmann::json(id), path));
    largest = std::max(largest, checked);
  }
  // A table is as long as the largest id: a few tokens with huge ids must not make it large.
  if (static_cast<size_t>(largest + 1) > 2 * file.vocab.size() + 65536) {
    return invalid("model.vocab: largest id is " + std::to_string(largest) + ", but there are only " +
                   std::to_string(file.vocab.size()) + " tokens");
  }
  tokens_.resize(static_cast<size_t>(largest + 1));
  std::vector<bool> used(tokens_.size());
  for (auto& [token, id] : file.vocab) {
    const auto index = static_cast<size_t>(id);
    if (used[index]) {
      return invalid("model.vocab['" + printable(token) + "']: id " + std::to_string(id) + " belongs to '" +
                     printable(tokens_[index]) + "' already");
    }
    used[index] = true;
    tokens_[index] = std::move(token);
  }
  ids_.reserve(tokens_.size());
  for (size_t id = 0; id < tokens_.size(); ++id) {
    if (used[id] && !ids_.insert(tokens_[id], static_cast<int32_t>(id))) {
      return invalid("model.vocab['" + printable(tokens_[id]) + "']: appears twice");
    }
  }
  return {};
}

Status Bpe::read_merges(const TokenizerFile& file) {
  merges_.reserve(file.merges.size());
  std::string merged;
  for (size_t i = 0; i < file.merges.size(); ++i) {
    const auto& [left, right] = file.merges[i];
    merged = left;
    merged += right;
    const int32_t left_id = ids_.find(left);
    const int32_t right_id = ids_.find(right);
    const int32_t merged_id = ids_.find(merged);
    if (left_id < 0 || right_id < 0 || merged_id < 0) {
      const std::string& missing = left_id < 0 ? left : right_id < 0 ? right : merged;
      return invalid("model.merges[" + std::to_string(i) + "]: '" + printable(missing) + "' is not in model.vocab");
    }
    if (left.empty() || right.empty()) return invalid("model.merges[" + std::to_string(i) + "]: empty token");
    merges_.insert(left_id, right_id, {static_cast<uint32_t>(i), merged_id});
  }
  return {};
}

void Bpe::prepare_bytes() {
  const ByteAlphabet& alphabet = ByteAlphabet::get();
  for (size_t byte = 0; byte < 256; ++byte) {
    const char raw = static_cast<char>(static_cast<unsigned char>(byte));
    byte_ids_[byte] = ids_.find(alphabet.encode({&raw, 1}));
    char name[8];
    std::snprintf(name, sizeof name, "<0x%02X>", static_cast<unsigned>(byte));
    fallback_ids_[byte] = ids_.find(name);
  }
  if (!options_.ignore_merges) return;
  raw_tokens_.resize(tokens_.size());
  raw_ids_.reserve(tokens_.size());
  for (size_t id = 0; id < tokens_.size(); ++id) {
    auto raw = alphabet.decode(tokens_[id]);
    if (!raw.has_value() || raw->empty()) continue;
    raw_tokens_[id] = std::move(*raw);
    raw_ids_.insert(raw_tokens_[id], static_cast<int32_t>(id));
  }
}

Status Bpe::prepare_unknown() {
  if (!options_.unk_token.has_value()) return {};
  unk_id_ = ids_.find(*options_.unk_token);
  // With a symbol for every byte nothing is unknown, and many files name a token that only exists as an added one.
  const bool all_bytes = std::all_of(byte_ids_.begin(), byte_ids_.end(), [](int32_t id) { return id >= 0; });
  if (unk_id_ >= 0 || all_bytes) return {};
  return invalid("model.unk_token: '" + printable(*options_.unk_token) + "' is not in model.vocab");
}

void Bpe::append_initial(std::string_view word, bool byte_level, std::vector<ModelToken>& out) const {
  Symbols symbols(*this, out);
  for (size_t i = 0; i < word.size();) {
    const size_t size = byte_level ? 1 : code_point_at(word, i).size;
    const std::string_view character = word.substr(i, size);
    const int32_t id = byte_level ? byte_ids_[static_cast<uint8_t>(word[i])] : ids_.find(character);
    if (id >= 0) {
      symbols.known(id, size);
    } else {
      symbols.unknown(byte_level ? ByteAlphabet::get().encode(character) : std::string(character), size);
    }
    i += size;
  }
  symbols.flush();
}

void Bpe::tokenize(std::string_view word, bool byte_level, std::vector<ModelToken>& out) const {
  if (options_.ignore_merges) {
    const int32_t whole = byte_level ? raw_ids_.find(word) : ids_.find(word);
    if (whole >= 0) {
      out.push_back({whole, static_cast<uint32_t>(word.size())});
      return;
    }
  }
  const uint64_t hash = hash_bytes(word);
  WordCache& cache = byte_level ? byte_cache_ : text_cache_;
  if (cache.find(word, hash, out)) return;
  std::vector<ModelToken> symbols;
  symbols.reserve(word.size());
  append_initial(word, byte_level, symbols);
  merges_.apply(symbols);
  cache.store(word, hash, symbols.data(), symbols.size());
  out.insert(out.end(), symbols.begin(), symbols.end());
}

// What is in the file but would change ids in a way that is not built is an error, not a default.
Status refuse_unless_empty(JsonFields& fields, const char* key) {
  GRAFT_TRY(const auto value, fields.optional_string(key));
  if (!value.has_value() || value->empty()) return {};
  return unsupported(fields.path_of(key) + ": '" + printable(*value) + "' is not supported");
}

}  // namespace

Result<std::unique_ptr<Model>> make_bpe(JsonFields& fields, TokenizerFile& file) {
  BpeOptions options;
  GRAFT_TRY(options.unk_token, fields.optional_string("unk_token"));
  GRAFT_TRY(options.fuse_unk, fields.boolean("fuse_unk", false));
  GRAFT_TRY(options.byte_fallback, fields.boolean("byte_fallback", false));
  GRAFT_TRY(options.ignore_merges, fields.boolean("ignore_merges", false));
  GRAFT_CHECK_OK(refuse_unless_empty(fields, "continuing_subword_prefix"));
  GRAFT_CHECK_OK(refuse_unless_empty(fields, "end_of_word_suffix"));
  if (const nlohmann::json* dropout = fields.any("dropout"); dropout != nullptr && *dropout != 0.0) {
    return unsupported("model.dropout: " + dropout->dump() + " is not supported: ids would be random; set it to null");
  }
  for (const char* list : {"vocab", "merges"}) {
    if (const nlohmann::json* other = fields.any(list); other != nullptr) {
      return invalid(fields.path_of(list) + ": expected an " +
                     (std::string_view(list) == "vocab" ? "object" : "array") + ", found " + other->type_name());
    }
  }
  GRAFT_CHECK_OK(fields.done());
  if (file.vocab.empty()) return invalid("model.vocab: missing or empty");
  return Bpe::make(file, std::move(options));
}

}  // namespace graft::text
