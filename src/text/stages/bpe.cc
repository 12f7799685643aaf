// Byte-pair encoding (Sennrich et al. 2016, arXiv:1508.07909) as in `tokenizers`.

#include <algorithm>
#include <array>
#include <optional>

#include "base/strings.h"
#include "text/stages/byte_level.h"
#include "text/stages/char_joints.h"
#include "text/stages/flat_hash.h"
#include "text/stages/merge_table.h"
#include "text/stages/models.h"
#include "text/stages/vocabulary.h"
#include "text/stages/word_cache.h"
#include "text/unicode/code_points.h"

namespace graft::text {
namespace {

struct BpeOptions {
  std::optional<std::string> unk_token;
  std::string prefix;  // of every character but a word's first
  std::string suffix;  // of a word's last character
  bool fuse_unk = false;
  bool byte_fallback = false;
  bool ignore_merges = false;
};

class Bpe : public Model {
 public:
  static Result<std::unique_ptr<Model>> make(TokenizerFile& file, BpeOptions options);

  void tokenize(std::string_view word, bool byte_level, std::vector<ModelToken>& out) const override;
  [[nodiscard]] bool reads_bytes() const override { return reads_bytes_; }
  [[nodiscard]] int32_t token_to_id(std::string_view token) const override { return vocabulary_.find(token); }
  [[nodiscard]] std::string_view id_to_token(int32_t id) const override { return vocabulary_.token(id); }
  [[nodiscard]] int32_t id_limit() const override { return vocabulary_.id_limit(); }
  [[nodiscard]] int32_t size() const override { return vocabulary_.size(); }

 private:
  // Collects the first symbols of a word: known characters, and what stands for unknown ones.
  class Symbols;

  Status read_merges(const TokenizerFile& file);
  Status prepare_unknown();
  void prepare_bytes();
  void prepare_joints(const TokenizerFile& file);
  [[nodiscard]] bool can_cut(std::string_view text, const CodePoint& left, size_t at, const CodePoint& right) const;
  void tokenize_text(std::string_view word, std::vector<ModelToken>& out) const;
  void tokenize_uncut(std::string_view word, bool byte_level, std::vector<ModelToken>& out) const;
  void append_bytes(std::string_view word, std::vector<ModelToken>& out) const;
  void append_characters(std::string_view word, std::vector<ModelToken>& out) const;

  BpeOptions options_;
  Vocabulary vocabulary_;
  std::vector<std::string> raw_tokens_;  // the tokens as raw bytes, for whole words in byte-level pipelines
  StringIds raw_ids_;
  std::array<int32_t, 256> byte_ids_{};      // the symbol of a byte in the byte-level alphabet, or -1
  std::array<int32_t, 256> fallback_ids_{};  // <0x00> to <0xFF>, or -1
  int32_t unk_id_ = -1;
  bool reads_bytes_ = false;      // there is a symbol for every byte
  bool spells_any_byte_ = false;  // byte fallback has a token for every byte: no character is unknown
  bool cuts_text_ = false;        // joints_ are usable
  MergeTable merges_;
  CharJoints joints_;
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
    if (bpe_.options_.byte_fallback && fall_back(spelling)) return;
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
  bool fall_back(std::string_view spelling) {
    const auto id = [&](char c) { return bpe_.fallback_ids_[static_cast<uint8_t>(c)]; };
    if (std::any_of(spelling.begin(), spelling.end(), [&](char c) { return id(c) < 0; })) return false;
    for (const char c : spelling) out_.push_back({id(c), 1});
    return true;
  }

  const Bpe& bpe_;
  std::vector<ModelToken>& out_;
  uint32_t pending_ = 0;
};

Result<std::unique_ptr<Model>> Bpe::make(TokenizerFile& file, BpeOptions options) {
  auto bpe = std::make_unique<Bpe>();
  bpe->options_ = std::move(options);
  GRAFT_TRY(bpe->vocabulary_, Vocabulary::from(file));
  GRAFT_CHECK_OK(bpe->read_merges(file));
  bpe->prepare_bytes();
  GRAFT_CHECK_OK(bpe->prepare_unknown());
  bpe->prepare_joints(file);
  return std::unique_ptr<Model>(std::move(bpe));
}

Status Bpe::read_merges(const TokenizerFile& file) {
  merges_.reserve(file.merges.size());
  std::string merged;
  for (size_t i = 0; i < file.merges.size(); ++i) {
    const auto& [left, right] = file.merges[i];
    const auto place = [&] { return "model.merges[" + std::to_string(i) + "]: "; };
    if (left.empty() || right.size() < options_.prefix.size() + 1) return invalid(place() + "empty token");
    merged = left;
    merged += std::string_view(right).substr(options_.prefix.size());
    const int32_t left_id = vocabulary_.find(left);
    const int32_t right_id = vocabulary_.find(right);
    const int32_t merged_id = vocabulary_.find(merged);
    if (left_id < 0 || right_id < 0 || merged_id < 0) {
      const std::string& missing = left_id < 0 ? left : right_id < 0 ? right : merged;
      return invalid(place() + "'" + printable(missing) + "' is not in model.vocab");
    }
    merges_.insert(left_id, right_id, {static_cast<uint32_t>(i), merged_id});
  }
  return {};
}

void Bpe::prepare_bytes() {
  const ByteAlphabet& alphabet = ByteAlphabet::get();
  for (size_t byte = 0; byte < 256; ++byte) {
    const char raw = static_cast<char>(static_cast<unsigned char>(byte));
    byte_ids_[byte] = vocabulary_.find(alphabet.encode({&raw, 1}));
    fallback_ids_[byte] = vocabulary_.find(byte_token(static_cast<uint8_t>(byte)));
  }
  const auto all_known = [](const auto& ids) {
    return std::all_of(ids.begin(), ids.end(), [](int32_t id) { return id >= 0; });
  };
  reads_bytes_ = all_known(byte_ids_) && options_.prefix.empty() && options_.suffix.empty();
  spells_any_byte_ = options_.byte_fallback && all_known(fallback_ids_);
  if (!options_.ignore_merges || !reads_bytes_) return;
  raw_tokens_.resize(static_cast<size_t>(vocabulary_.id_limit()));
  raw_ids_.reserve(raw_tokens_.size());
  for (int32_t id = 0; id < vocabulary_.id_limit(); ++id) {
    auto raw = alphabet.decode(vocabulary_.token(id));
    if (!raw.has_value() || raw->empty()) continue;
    std::string& token = raw_tokens_[static_cast<size_t>(id)];
    token = std::move(*raw);
    raw_ids_.insert(token, id);
  }
}

Status Bpe::prepare_unknown() {
  if (!options_.unk_token.has_value()) return {};
  unk_id_ = vocabulary_.find(*options_.unk_token);
  // With a symbol for every byte nothing is unknown, and many files name a token that only exists as an added one.
  if (unk_id_ >= 0 || reads_bytes_ || spells_any_byte_) return {};
  return invalid("model.unk_token: '" + printable(*options_.unk_token) + "' is not in model.vocab");
}

void Bpe::prepare_joints(const TokenizerFile& file) {
  if (!options_.prefix.empty() || !options_.suffix.empty()) return;  // a character's symbol depends on its place
  joints_.reserve(file.merges.size());
  for (const auto& [left, right] : file.merges) {
    // Tokens that stand for other text than they spell.
    for (const std::string& token : {left, right}) {
      const int32_t id = vocabulary_.find(token);
      const bool is_byte = std::find(fallback_ids_.begin(), fallback_ids_.end(), id) != fallback_ids_.end();
      if (id == unk_id_ || (options_.byte_fallback && is_byte)) return;
    }
    joints_.insert(code_point_before(left, left.size()).value, code_point_at(right, 0).value);
  }
  cuts_text_ = true;
}

// Unknown neighbours may become one token, so only where both are known, or every character is.
bool Bpe::can_cut(std::string_view text, const CodePoint& left, size_t at, const CodePoint& right) const {
  if (joints_.may_join(left.value, right.value)) return false;
  if (spells_any_byte_) return true;
  return vocabulary_.find(text.substr(at - left.size, left.size)) >= 0 &&
         vocabulary_.find(text.substr(at, right.size)) >= 0;
}

void Bpe::append_bytes(std::string_view word, std::vector<ModelToken>& out) const {
  for (const char c : word) out.push_back({byte_ids_[static_cast<uint8_t>(c)], 1});
}

void Bpe::append_characters(std::string_view word, std::vector<ModelToken>& out) const {
  Symbols symbols(*this, out);
  std::string spelled;
  for (size_t i = 0; i < word.size();) {
    const size_t size = code_point_at(word, i).size;
    std::string_view character = word.substr(i, size);
    const bool is_last = i + size == word.size();
    if ((i > 0 && !options_.prefix.empty()) || (is_last && !options_.suffix.empty())) {
      spelled = (i > 0 ? options_.prefix : "") + std::string(character) + (is_last ? options_.suffix : "");
      character = spelled;
    }
    const int32_t id = vocabulary_.find(character);
    if (id >= 0) {
      symbols.known(id, size);
    } else {
      symbols.unknown(character, size);
    }
    i += size;
  }
  symbols.flush();
}

void Bpe::tokenize_uncut(std::string_view word, bool byte_level, std::vector<ModelToken>& out) const {
  const uint64_t hash = hash_bytes(word);
  WordCache& cache = byte_level ? byte_cache_ : text_cache_;
  if (cache.find(word, hash, out)) return;
  const size_t begin = out.size();
  if (byte_level) {
    append_bytes(word, out);
  } else {
    append_characters(word, out);
  }
  merges_.apply(out, begin);
  cache.store(word, hash, out.data() + begin, out.size() - begin);
}

void Bpe::tokenize_text(std::string_view word, std::vector<ModelToken>& out) const {
  size_t begin = 0;
  CodePoint left = code_point_at(word, 0);
  for (size_t i = left.size; i < word.size();) {
    const CodePoint right = code_point_at(word, i);
    if (can_cut(word, left, i, right)) {
      tokenize_uncut(word.substr(begin, i - begin), false, out);
      begin = i;
    }
    i += right.size;
    left = right;
  }
  tokenize_uncut(word.substr(begin), false, out);
}

void Bpe::tokenize(std::string_view word, bool byte_level, std::vector<ModelToken>& out) const {
  if (word.empty()) return;
  if (options_.ignore_merges) {
    const int32_t whole = byte_level ? raw_ids_.find(word) : vocabulary_.find(word);
    if (whole >= 0) {
      out.push_back({whole, static_cast<uint32_t>(word.size())});
      return;
    }
  }
  if (byte_level || !cuts_text_) {
    tokenize_uncut(word, byte_level, out);
  } else {
    tokenize_text(word, out);
  }
}

}  // namespace

Result<std::unique_ptr<Model>> make_bpe(JsonFields& fields, TokenizerFile& file) {
  BpeOptions options;
  GRAFT_TRY(options.unk_token, fields.optional_string("unk_token"));
  GRAFT_TRY(options.fuse_unk, fields.boolean("fuse_unk", false));
  GRAFT_TRY(options.byte_fallback, fields.boolean("byte_fallback", false));
  GRAFT_TRY(options.ignore_merges, fields.boolean("ignore_merges", false));
  GRAFT_TRY(const auto prefix, fields.optional_string("continuing_subword_prefix"));
  GRAFT_TRY(const auto suffix, fields.optional_string("end_of_word_suffix"));
  options.prefix = prefix.value_or("");
  options.suffix = suffix.value_or("");
  fields.ignore("dropout");  // regularises a training run of its own; ids would be random
  return Bpe::make(file, std::move(options));
}

}  // namespace graft::text
