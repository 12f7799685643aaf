#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/stages/source.h"
#include "text/unicode/text_rewrite.h"

namespace graft::text {

struct Piece {
  size_t begin = 0;
  size_t end = 0;
};

// Text on its way from the normaliser to the model, cut into pieces in reading order.
class PreTokenized {
 public:
  // `source` knows where the text comes from, and outlives this.
  PreTokenized(std::string_view text, const Source& source)
      : text_(text), source_(source), plain_shift_(source.plain_shift()) {
    if (!text.empty()) pieces_.push_back({0, text.size()});
  }
  // `text_` may point into `owned_`.
  PreTokenized(const PreTokenized&) = delete;
  PreTokenized& operator=(const PreTokenized&) = delete;

  // What pre-tokenizers look at: UTF-8.
  [[nodiscard]] std::string_view text();
  [[nodiscard]] const std::vector<Piece>& pieces() const { return pieces_; }
  void set_pieces(std::vector<Piece> pieces) { pieces_ = std::move(pieces); }

  // Replaces every piece of the text. `rewrite` gets a rewriting of the whole text that stands at the piece's begin,
  // and takes it to the piece's end.
  void rewrite_pieces(const std::function<void(const Piece& piece, TextRewrite& out)>& rewrite);

  // From here on the text stands for its bytes written in the byte-level alphabet. That spelling is made only where
  // somebody looks at the text; a model that can reads the bytes as they are.
  void set_byte_level();
  [[nodiscard]] bool byte_level() const { return byte_level_; }

  // For the model, after the last pre-tokenizer: raw bytes where byte_level().
  [[nodiscard]] std::string_view model_text() const { return text_; }
  // The bytes of the input that bytes of model_text() belong to.
  [[nodiscard]] ByteRange source(size_t begin, size_t end) const;
  // Whether the input begins with what this byte belongs to.
  [[nodiscard]] bool begins_input(size_t byte) const { return source(byte, byte + 1).first == 0; }

 private:
  void own(std::string text, OffsetMap map);
  std::string_view text_;
  const Source& source_;
  std::optional<size_t> plain_shift_;  // of source_; most text is not rewritten
  std::string owned_;
  std::vector<Piece> pieces_;
  OffsetMaps maps_;
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
