#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/unicode/offset_map.h"

namespace graft::text {

struct Piece {
  size_t begin = 0;
  size_t end = 0;
};

// Text on its way from the normaliser to the model, cut into pieces in reading order.
class PreTokenized {
 public:
  explicit PreTokenized(std::string_view text) : text_(text) {
    if (!text.empty()) pieces_.push_back({0, text.size()});
  }
  // `text_` may point into `owned_`.
  PreTokenized(const PreTokenized&) = delete;
  PreTokenized& operator=(const PreTokenized&) = delete;

  // What pre-tokenizers look at: UTF-8.
  [[nodiscard]] std::string_view text();
  [[nodiscard]] const std::vector<Piece>& pieces() const { return pieces_; }
  void set_pieces(std::vector<Piece> pieces) { pieces_ = std::move(pieces); }

  // Replaces every piece of the text; `rewrite` appends the new form of one. The whole piece counts as the source of
  // all of its new bytes, except for a suffix that `rewrite` returns the length of, which is unchanged.
  void rewrite_pieces(const std::function<size_t(std::string_view piece, std::string& out)>& rewrite);

  // From here on the text stands for its bytes written in the byte-level alphabet. That spelling is made only where a
  // later pre-tokenizer looks at the text; the model reads the bytes as they are.
  void set_byte_level();
  [[nodiscard]] bool byte_level() const { return byte_level_; }

  // For the model, after the last pre-tokenizer: raw bytes where byte_level().
  [[nodiscard]] std::string_view model_text() const { return text_; }
  // The bytes of the text given to the constructor that bytes of model_text() come from.
  [[nodiscard]] std::pair<size_t, size_t> source(size_t begin, size_t end) const;

 private:
  void own(std::string text, OffsetMap map);
  std::string_view text_;
  std::string owned_;
  std::vector<Piece> pieces_;
  std::vector<OffsetMap> maps_;
  bool byte_level_ = false;
};

// Cuts text into words that the model sees one by one. Immutable: one object serves all threads.
class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  virtual void apply(PreTokenized& text) const = 0;
};

// nullptr where `spec` is null: the text is one word.
Result<std::unique_ptr<PreTokenizer>> make_pre_tokenizer(const nlohmann::json* spec, const std::string& path);

}  // namespace graft::text
