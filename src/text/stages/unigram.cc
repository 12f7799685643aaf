// Unigram language model (Kudo 2018, arXiv:1804.10959) as in `tokenizers`: of all ways to cut a word into known pieces,
// the one with the largest sum of scores; of equal ones, the one found first.

#include <array>
#include <limits>

#include "base/strings.h"
#include "text/stages/byte_trie.h"
#include "text/stages/flat_hash.h"
#include "text/stages/models.h"
#include "text/stages/vocabulary.h"
#include "text/stages/word_cache.h"
#include "text/unicode/code_points.h"

namespace graft::text {
namespace {

constexpr double kUnknownPenalty = 10.0;  // below the lowest score

class Unigram : public Model {
 public:
  static Result<std::unique_ptr<Model>> make(TokenizerFile& file, int32_t unk_id, bool byte_fallback);

  void tokenize(std::string_view word, bool byte_level, std::vector<ModelToken>& out) const override;
  [[nodiscard]] int32_t token_to_id(std::string_view token) const override {
    const uint32_t node = trie_.walk(ByteTrie::kRoot, token);
    return node == ByteTrie::kNone ? -1 : trie_.value(node);
  }
  [[nodiscard]] std::string_view id_to_token(int32_t id) const override {
    return id >= 0 && id < size() ? std::string_view(pieces_[static_cast<size_t>(id)].first) : std::string_view();
  }
  [[nodiscard]] int32_t id_limit() const override { return size(); }
  [[nodiscard]] int32_t size() const override { return static_cast<int32_t>(pieces_.size()); }

 private:
  // The best way to cut the text up to some byte: its last piece.
  struct Best {
    double score = 0;
    int32_t id = -1;  // -1: none found yet
    size_t begin = 0;
  };
  [[nodiscard]] std::vector<Best> best_paths(std::string_view word) const;
  void append(std::string_view piece, std::vector<ModelToken>& out) const;

  std::vector<std::pair<std::string, double>> pieces_;
  ByteTrie trie_;
  int32_t unk_id_ = 0;
  double unk_score_ = 0;
  bool spells_bytes_ = false;
  std::array<int32_t, 256> byte_ids_{};  // -1 where there is none
  mutable WordCache cache_;
};

Result<std::unique_ptr<Model>> Unigram::make(TokenizerFile& file, int32_t unk_id, bool byte_fallback) {
  auto made = std::make_unique<Unigram>();
  made->pieces_ = std::move(file.pieces);
  made->unk_id_ = unk_id;
  made->spells_bytes_ = byte_fallback;
  std::vector<std::pair<std::string_view, int32_t>> entries;
  entries.reserve(made->pieces_.size());
  double lowest = std::numeric_limits<double>::infinity();
  for (size_t id = 0; id < made->pieces_.size(); ++id) {
    const auto& [piece, score] = made->pieces_[id];
    lowest = std::min(lowest, score);
    if (!piece.empty()) entries.emplace_back(piece, static_cast<int32_t>(id));
  }
  made->unk_score_ = lowest - kUnknownPenalty;
  made->trie_ = ByteTrie(std::move(entries));
  for (size_t byte = 0; byte < 256; ++byte) {
    made->byte_ids_[byte] = made->token_to_id(byte_token(static_cast<uint8_t>(byte)));
  }
  return std::unique_ptr<Model>(std::move(made));
}

std::vector<Unigram::Best> Unigram::best_paths(std::string_view word) const {
  std::vector<Best> best(word.size() + 1);
  for (size_t begin = 0; begin < word.size();) {
    const double so_far = best[begin].score;
    const size_t character = code_point_at(word, begin).size;
    bool has_single = false;
    const auto consider = [&](size_t end, int32_t id, double score) {
      const double candidate = score + so_far;
      if (best[end].id < 0 || candidate > best[end].score) best[end] = {candidate, id, begin};
    };
    uint32_t node = ByteTrie::kRoot;
    for (size_t i = begin; i < word.size(); ++i) {
      node = trie_.child(node, word[i]);
      if (node == ByteTrie::kNone) break;
      const int32_t id = trie_.value(node);
      if (id < 0) continue;
      consider(i + 1, id, pieces_[static_cast<size_t>(id)].second);
      has_single = has_single || i + 1 - begin == character;
    }
    if (!has_single) consider(begin + character, unk_id_, unk_score_);
    begin += character;
  }
  return best;
}

// A piece, or unknown characters side by side, which count as one.
void Unigram::append(std::string_view piece, std::vector<ModelToken>& out) const {
  const auto size = static_cast<uint32_t>(piece.size());
  int32_t id = token_to_id(piece);
  if (id < 0 && spells_bytes_) {
    const size_t first = out.size();
    for (const char c : piece) {
      id = byte_ids_[static_cast<uint8_t>(c)];
      if (id < 0) break;
      out.push_back({id, size | ModelToken::kShared});
    }
    if (id >= 0) {
      out.back().size = size;
      return;
    }
    out.resize(first);
  }
  out.push_back({id < 0 ? unk_id_ : id, size});
}

void Unigram::tokenize(std::string_view word, bool /*byte_level*/, std::vector<ModelToken>& out) const {
  if (word.empty()) return;
  const uint64_t hash = hash_bytes(word);
  if (cache_.find(word, hash, out)) return;
  const size_t first = out.size();
  const std::vector<Best> best = best_paths(word);
  std::vector<size_t> ends;  // last first
  for (size_t end = word.size(); end > 0; end = best[end].begin) ends.push_back(end);
  size_t begin = 0;
  for (size_t i = ends.size(); i-- > 0;) {
    const bool is_unknown = best[ends[i]].id == unk_id_;
    if (is_unknown && i > 0 && best[ends[i - 1]].id == unk_id_) continue;
    append(word.substr(begin, ends[i] - begin), out);
    begin = ends[i];
  }
  cache_.store(word, hash, out.data() + first, out.size() - first);
}

}  // namespace

Result<std::unique_ptr<Model>> make_unigram(JsonFields& fields, TokenizerFile& file) {
  const nlohmann::json* unk = fields.any("unk_id");
  GRAFT_TRY(const bool byte_fallback, fields.boolean("byte_fallback", false));
  if (file.pieces.empty()) return invalid("model.vocab: missing or empty");
  if (unk == nullptr) return invalid("model.unk_id: missing: there would be no token for an unknown character");
  GRAFT_TRY(const int32_t unk_id, token_id_from(*unk, "model.unk_id"));
  if (static_cast<size_t>(unk_id) >= file.pieces.size()) {
    return invalid("model.unk_id: " + std::to_string(unk_id) + " is outside the vocabulary");
  }
  return Unigram::make(file, unk_id, byte_fallback);
}

}  // namespace graft::text
