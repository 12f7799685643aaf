#include "text/stages/tokenizer_file.h"

#include <optional>

#include "base/strings.h"

namespace graft::text {
namespace {

using nlohmann::json;
constexpr size_t kDeepest = 64;
// Ids are checked against their real bounds later; what does not fit an int64 is no id at all.
constexpr int64_t kNoId = -1;

// Events of nlohmann's parser. Values inside model.vocab and model.merges go to the lists; all others build the tree.
class Reader : public nlohmann::json_sax<json> {
 public:
  explicit Reader(TokenizerFile& file) : file_(&file) {}
  [[nodiscard]] const std::string& problem() const { return problem_; }

  bool null() override { return value(nullptr); }
  bool boolean(bool v) override { return value(v); }
  bool number_integer(number_integer_t v) override { return integer(v, v); }
  bool number_unsigned(number_unsigned_t v) override {
    return integer(v, v <= static_cast<number_unsigned_t>(INT64_MAX) ? static_cast<int64_t>(v) : kNoId);
  }
  bool number_float(number_float_t v, const string_t& /*text*/) override {
    return place_ == Place::kPieces ? score(v) : value(v);
  }
  bool binary(binary_t& /*v*/) override { return fail("binary values are not JSON"); }
  bool string(string_t& v) override {
    if (place_ == Place::kMerges) return merge_part(v);
    if (place_ == Place::kPieces) return piece(v);
    return value(std::move(v));
  }

  bool start_object(size_t /*size*/) override {
    if (place_ != Place::kTree) return fail(where() + ": unexpected object");
    if (is_at_model_list("vocab")) {
      place_ = Place::kVocab;
      return true;
    }
    return open(json::object());
  }
  bool end_object() override {
    if (place_ == Place::kVocab) {
      place_ = Place::kTree;
      return true;
    }
    return close();
  }
  bool start_array(size_t /*size*/) override {
    if (place_ == Place::kMerges && !in_pair_) {
      in_pair_ = true;
      pair_.clear();
      return true;
    }
    if (place_ == Place::kPieces && !in_pair_) {
      in_pair_ = true;
      pair_.clear();
      return true;
    }
    if (place_ != Place::kTree) return fail(where() + ": unexpected array");
    if (is_at_model_list("merges")) {
      place_ = Place::kMerges;
      return true;
    }
    if (is_at_model_list("vocab")) {
      place_ = Place::kPieces;
      return true;
    }
    return open(json::array());
  }
  bool end_array() override {
    if (place_ == Place::kMerges && in_pair_) {
      in_pair_ = false;
      if (pair_.size() != 2) return fail(where() + ": expected two tokens");
      file_->merges.emplace_back(std::move(pair_[0]), std::move(pair_[1]));
      return true;
    }
    if (place_ == Place::kPieces && in_pair_) {
      in_pair_ = false;
      // A piece is pushed when its score comes.
      return pair_.size() == 2 || fail(where() + ": expected a token and its score");
    }
    if (place_ == Place::kMerges || place_ == Place::kPieces) {
      place_ = Place::kTree;
      return true;
    }
    return close();
  }
  bool key(string_t& v) override {
    if (place_ == Place::kTree && stack_.back()->contains(v)) return fail("duplicate key '" + printable(v) + "'");
    key_ = std::move(v);
    return true;
  }
  bool parse_error(size_t /*position*/, const std::string& /*token*/, const json::exception& error) override {
    std::string message = error.what();
    if (const size_t end = message.find("] "); end != std::string::npos) message.erase(0, end + 2);
    return fail("not valid JSON: " + printable(message, 240));
  }

 private:
  enum class Place { kTree, kVocab, kPieces, kMerges };

  bool fail(std::string problem) {
    problem_ = std::move(problem);
    return false;
  }

  [[nodiscard]] std::string where() const {
    if (place_ == Place::kVocab) return "model.vocab['" + printable(key_) + "']";
    if (place_ == Place::kPieces) return "model.vocab[" + std::to_string(file_->pieces.size()) + "]";
    return "model.merges[" + std::to_string(file_->merges.size()) + "]";
  }

  [[nodiscard]] bool is_at_model_list(std::string_view name) const {
    return stack_.size() == 2 && stack_[1]->is_object() && key_ == name && model_ == stack_[1];
  }

  template <class Number>
  bool integer(Number tree_value, int64_t id) {
    if (place_ == Place::kTree) return value(tree_value);
    if (place_ == Place::kPieces) return score(static_cast<double>(tree_value));
    if (place_ == Place::kMerges) return fail(where() + ": expected a string or a pair of strings");
    file_->vocab.emplace_back(std::move(key_), id);
    return true;
  }

  bool piece(string_t& text) {
    if (!in_pair_ || !pair_.empty()) return fail(where() + ": expected a token and its score");
    pair_.push_back(std::move(text));
    return true;
  }
  bool score(double value) {
    if (!in_pair_ || pair_.size() != 1) return fail(where() + ": expected a token and its score");
    file_->pieces.emplace_back(std::move(pair_[0]), value);
    pair_.emplace_back();  // complete
    return true;
  }

  bool merge_part(string_t& text) {
    if (in_pair_) {
      if (pair_.size() == 2) return fail(where() + ": expected two tokens");
      pair_.push_back(std::move(text));
      return true;
    }
    const size_t space = text.find(' ');
    if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos) {
      return fail(where() + ": expected two tokens with one space between, found '" + printable(text) + "'");
    }
    file_->merges.emplace_back(text.substr(0, space), text.substr(space + 1));
    return true;
  }

  // The slot in the tree that the next value belongs to.
  json* put(json v) {
    if (stack_.empty()) {
      file_->root = std::move(v);
      return &file_->root;
    }
    json& parent = *stack_.back();
    if (parent.is_array()) {
      parent.push_back(std::move(v));
      return &parent.back();
    }
    return &(parent[key_] = std::move(v));
  }
  bool value(json v) {
    if (place_ == Place::kVocab) return fail(where() + ": expected a token id");
    if (place_ == Place::kMerges) return fail(where() + ": expected a string or a pair of strings");
    if (place_ == Place::kPieces) return fail(where() + ": expected a token and its score");
    put(std::move(v));
    return true;
  }
  bool open(json container) {
    if (stack_.size() == kDeepest) return fail("nested deeper than " + std::to_string(kDeepest) + " levels");
    const bool is_model = stack_.size() == 1 && stack_[0]->is_object() && key_ == "model";
    stack_.push_back(put(std::move(container)));
    if (is_model) model_ = stack_.back();
    return true;
  }
  bool close() {
    stack_.pop_back();
    return true;
  }

  TokenizerFile* file_;
  Place place_ = Place::kTree;
  std::vector<json*> stack_;
  const json* model_ = nullptr;
  std::string key_;
  bool in_pair_ = false;
  std::vector<std::string> pair_;
  std::string problem_;
};

}  // namespace

Result<TokenizerFile> read_tokenizer_file(std::string_view text) {
  TokenizerFile file;
  Reader reader(file);
  if (!json::sax_parse(text.begin(), text.end(), &reader)) return invalid(reader.problem());
  return file;
}

}  // namespace graft::text
