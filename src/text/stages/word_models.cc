// The models that look whole words up: WordLevel, and WordPiece (Schuster and Nakajima 2012), which cuts those that it
// does not know from the left into the longest known parts.

#include "base/strings.h"
#include "text/stages/byte_trie.h"
#include "text/stages/models.h"
#include "text/stages/vocabulary.h"
#include "text/unicode/code_points.h"

namespace graft::text {
namespace {

class VocabularyModel : public Model {
 public:
  VocabularyModel(Vocabulary vocabulary, int32_t unk_id) : vocabulary_(std::move(vocabulary)), unk_id_(unk_id) {}
  [[nodiscard]] int32_t token_to_id(std::string_view token) const override { return vocabulary_.find(token); }
  [[nodiscard]] std::string_view id_to_token(int32_t id) const override { return vocabulary_.token(id); }
  [[nodiscard]] int32_t id_limit() const override { return vocabulary_.id_limit(); }
  [[nodiscard]] int32_t size() const override { return vocabulary_.size(); }

 protected:
  Vocabulary vocabulary_;
  int32_t unk_id_;
};

class WordLevel : public VocabularyModel {
 public:
  using VocabularyModel::VocabularyModel;
  void tokenize(std::string_view word, bool /*byte_level*/, std::vector<ModelToken>& out) const override {
    const int32_t id = vocabulary_.find(word);
    out.push_back({id >= 0 ? id : unk_id_, static_cast<uint32_t>(word.size())});
  }
};

class WordPiece : public VocabularyModel {
 public:
  WordPiece(Vocabulary vocabulary, int32_t unk_id, std::string_view prefix, size_t most_characters)
      : VocabularyModel(std::move(vocabulary), unk_id), most_characters_(most_characters) {
    std::vector<std::pair<std::string_view, int32_t>> entries;
    for (int32_t id = 0; id < id_limit(); ++id) {
      if (!vocabulary_.token(id).empty()) entries.emplace_back(vocabulary_.token(id), id);
    }
    trie_ = ByteTrie(std::move(entries));
    continued_ = trie_.walk(ByteTrie::kRoot, prefix);
  }

  void tokenize(std::string_view word, bool /*byte_level*/, std::vector<ModelToken>& out) const override {
    const size_t first = out.size();
    bool is_known = !is_too_long(word);
    for (size_t begin = 0; is_known && begin < word.size();) {
      const ModelToken longest = longest_at(word, begin);
      is_known = longest.size > 0;
      if (is_known) out.push_back(longest);
      begin += longest.size;
    }
    if (is_known) return;
    out.resize(first);
    out.push_back({unk_id_, static_cast<uint32_t>(word.size())});
  }

 private:
  [[nodiscard]] bool is_too_long(std::string_view word) const {
    size_t count = 0;
    for (const char c : word) count += is_continuation(c) ? 0 : 1;
    return count > most_characters_;
  }

  [[nodiscard]] ModelToken longest_at(std::string_view word, size_t begin) const {
    ModelToken longest;
    uint32_t node = begin == 0 ? ByteTrie::kRoot : continued_;
    for (size_t i = begin; i < word.size() && node != ByteTrie::kNone; ++i) {
      node = trie_.child(node, word[i]);
      if (node == ByteTrie::kNone || trie_.value(node) < 0) continue;
      longest = {trie_.value(node), static_cast<uint32_t>(i + 1 - begin)};
    }
    return longest;
  }

  ByteTrie trie_;  // of views into vocabulary_
  uint32_t continued_ = ByteTrie::kNone;
  size_t most_characters_;
};

struct Read {
  Vocabulary vocabulary;
  int32_t unk_id = -1;
};

Result<Read> read(JsonFields& fields, TokenizerFile& file) {
  Read read;
  GRAFT_TRY(const std::string unk, fields.string("unk_token"));
  GRAFT_TRY(read.vocabulary, Vocabulary::from(file));
  read.unk_id = read.vocabulary.find(unk);
  if (read.unk_id < 0) return invalid("model.unk_token: '" + printable(unk) + "' is not in model.vocab");
  return read;
}

}  // namespace

Result<std::unique_ptr<Model>> make_word_level(JsonFields& fields, TokenizerFile& file) {
  GRAFT_TRY(Read made, read(fields, file));
  return std::unique_ptr<Model>(std::make_unique<WordLevel>(std::move(made.vocabulary), made.unk_id));
}

Result<std::unique_ptr<Model>> make_word_piece(JsonFields& fields, TokenizerFile& file) {
  constexpr size_t kDefaultMost = 100;
  GRAFT_TRY(const auto prefix, fields.optional_string("continuing_subword_prefix"));
  const nlohmann::json* most = fields.any("max_input_chars_per_word");
  if (most != nullptr && !most->is_number_unsigned()) {
    return invalid("model.max_input_chars_per_word: expected a number of characters, found " + printable(most->dump()));
  }
  GRAFT_TRY(Read made, read(fields, file));
  return std::unique_ptr<Model>(std::make_unique<WordPiece>(std::move(made.vocabulary), made.unk_id,
                                                            prefix.value_or("##"),
                                                            most == nullptr ? kDefaultMost : most->get<size_t>()));
}

}  // namespace graft::text
