#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "text/stages/model.h"
#include "text/stages/normalizer.h"

namespace graft::text {

struct AddedToken {
  int32_t id = 0;
  std::string content;
  bool single_word = false;  // only where no word character touches it
  bool lstrip = false;       // takes the white space on its left in
  bool rstrip = false;       // and on its right
  bool normalized = false;   // looked for in the normalised text
  bool special = false;      // left out by decode(skip_special_tokens)
  bool is_space = false;     // nothing but white space, and not special: ordinary text that got an id of its own
};

// A stretch of text: an added token, or text for the model.
struct TextSegment {
  size_t begin = 0;
  size_t end = 0;
  int32_t id = -1;  // -1: text
};

// Finds the longest of many strings at a position; a trie in two flat arrays.
class StringTrie {
 public:
  StringTrie() { nodes_.emplace_back(); }
  void insert(std::string_view text, int32_t value);
  // Calls `found(length, value)` for every stored string that the text at `begin` starts with, shortest first.
  template <class Found>
  void match(std::string_view text, size_t begin, Found found) const {
    uint32_t node = 0;
    for (size_t i = begin; i < text.size(); ++i) {
      node = child(node, static_cast<uint8_t>(text[i]));
      if (node == 0) return;
      if (nodes_[node].value >= 0) found(i + 1 - begin, nodes_[node].value);
    }
  }
  [[nodiscard]] bool may_start_with(char byte) const { return first_[static_cast<uint8_t>(byte)] != 0; }
  [[nodiscard]] bool empty() const { return nodes_.size() == 1; }

 private:
  struct Node {
    int32_t value = -1;
    std::vector<std::pair<uint8_t, uint32_t>> children;  // few: searched linearly
  };
  [[nodiscard]] uint32_t child(uint32_t node, uint8_t byte) const;
  std::vector<Node> nodes_;
  std::array<uint32_t, 256> first_{};  // the root's children
};

// The tokens beside the model's vocabulary. As in `tokenizers`: those with normalized = false are cut out of the text
// as it is, then every piece between is normalised and searched for the others; leftmost and longest wins.
class AddedTokens {
 public:
  static Result<AddedTokens> from_json(const nlohmann::json* tokens, const Model& model, const Normalizer* normalizer);

  // True where [begin, end) of the searched text must not become a token. Not asked for tokens that are only space:
  // they say nothing that a user could not say, and models know indented or spaced text by them.
  using IsProtected = std::function<bool(size_t begin, size_t end)>;
  [[nodiscard]] std::vector<TextSegment> split_raw(std::string_view text, const IsProtected& is_protected) const {
    return split(text, raw_, is_protected);
  }
  [[nodiscard]] std::vector<TextSegment> split_normalized(std::string_view text,
                                                          const IsProtected& is_protected) const {
    return split(text, normalized_, is_protected);
  }
  [[nodiscard]] bool has_normalized() const { return !normalized_.empty(); }

  [[nodiscard]] const AddedToken* by_id(int32_t id) const;
  [[nodiscard]] const AddedToken* by_content(std::string_view content) const;
  [[nodiscard]] const std::vector<AddedToken>& all() const { return tokens_; }

 private:
  void fill_tries(const Normalizer* normalizer);
  [[nodiscard]] std::vector<TextSegment> split(std::string_view text, const StringTrie& trie,
                                               const IsProtected& is_protected) const;
  // The token that starts at `begin`, and its end; nullptr where there is none.
  [[nodiscard]] const AddedToken* longest_at(std::string_view text, size_t begin, const StringTrie& trie,
                                             const IsProtected& is_protected, size_t* end) const;
  std::vector<AddedToken> tokens_;
  std::unordered_map<int32_t, size_t> by_id_;
  std::unordered_map<std::string, size_t> by_content_;
  StringTrie raw_;
  StringTrie normalized_;
};

}  // namespace graft::text
