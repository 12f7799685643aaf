#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace graft::text {

class DecodeStream;

struct EncodeOptions {
  bool add_special_tokens = true;  // run the post-processor (BOS and the like)
};

// What tokenizer_config.json says beside a tokenizer.json.
struct TokenizerOptions {
  // clean_up_tokenization_spaces: decoding leaves no space in front of punctuation and English contractions.
  bool clean_up_spaces = false;
};

// Bytes [begin, end) of the text that came from a user. Added tokens are never recognised where they overlap one,
// except for those that are white space and not special (indentation); everything else is tokenised as if there were no
// spans.
struct ProtectedSpan {
  size_t begin = 0;
  size_t end = 0;
};

struct Encoding {
  std::vector<int32_t> ids;
  // Byte range of the input each id came from, as `tokenizers` counts it, but for its widening to whole characters: it
  // may begin or end inside one. Tokens that the post-processor put in have [0, 0).
  std::vector<std::pair<size_t, size_t>> offsets;
};

// A tokenizer.json, equal in ids to Hugging Face's `tokenizers`. Immutable: safe to use from many threads.
// The sections `truncation` and `padding` are ignored: they prepare batches, and transformers overrides them too.
class Tokenizer {
 public:
  // Errors name the place in the file: "pre_tokenizer.pretokenizers[0]: type 'X' is not supported; ...".
  static Result<std::unique_ptr<Tokenizer>> from_json(std::string_view tokenizer_json,
                                                      const TokenizerOptions& options = {});
  ~Tokenizer();
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  // Any bytes: every maximal ill-formed sequence counts as one U+FFFD, as Rust's String::from_utf8_lossy has it.
  [[nodiscard]] Encoding encode(std::string_view text, const EncodeOptions& options = {},
                                std::span<const ProtectedSpan> protected_spans = {}) const;
  // Equal to transformers' decode, and to `tokenizers`' where spaces are not cleaned up: invalid UTF-8 becomes U+FFFD.
  // `clean_up_spaces`: nothing for what the options say.
  [[nodiscard]] std::string decode(std::span<const int32_t> ids, bool skip_special_tokens = true,
                                   std::optional<bool> clean_up_spaces = std::nullopt) const;

  [[nodiscard]] int32_t vocab_size() const;                 // one more than the largest id, added tokens included
  [[nodiscard]] std::string id_to_token(int32_t id) const;  // as written in the vocabulary; empty where there is none
  [[nodiscard]] int32_t token_to_id(std::string_view token) const;  // -1 where there is none
  [[nodiscard]] bool is_special(int32_t id) const;

 private:
  friend class IncrementalDetokenizer;
  struct Impl;
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Turns ids into text as they come. Text that ends in half a character, or that a later token may still change,
// is held back; the concatenation of everything emitted equals Tokenizer::decode of all ids. Time and memory per id do
// not grow with the length of the text, but for decoders that replace a regular expression in all of it, and for a run
// of tokens that stand for single bytes, which is valid or not as a whole. The tokenizer must outlive it.
class IncrementalDetokenizer {
 public:
  explicit IncrementalDetokenizer(const Tokenizer& tokenizer, bool skip_special_tokens = true,
                                  std::optional<bool> clean_up_spaces = std::nullopt);
  ~IncrementalDetokenizer();
  IncrementalDetokenizer(IncrementalDetokenizer&&) noexcept;
  IncrementalDetokenizer& operator=(IncrementalDetokenizer&&) noexcept;

  std::string push(int32_t id);  // the text that became certain, possibly empty
  std::string finish();          // what was held back

 private:
  friend class Tokenizer;
  void append(int32_t id, std::string& text);
  const Tokenizer* tokenizer_;
  bool skip_special_tokens_;
  std::unique_ptr<DecodeStream> stream_;
};

}  // namespace graft::text
