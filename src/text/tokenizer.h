#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace graft::text {

struct EncodeOptions {
  bool add_special_tokens = true;  // run the post-processor (BOS and the like)
};

// Bytes [begin, end) of the text that came from a user. Special tokens are never recognised inside.
struct ProtectedSpan {
  size_t begin = 0;
  size_t end = 0;
};

struct Encoding {
  std::vector<int32_t> ids;
  std::vector<std::pair<size_t, size_t>> offsets;  // byte range of the input each id came from
};

// A tokenizer.json, equal in ids to Hugging Face's `tokenizers`. Immutable: safe to use from many threads.
class Tokenizer {
 public:
  static Result<std::unique_ptr<Tokenizer>> from_json(std::string_view tokenizer_json);
  ~Tokenizer();
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  [[nodiscard]] Encoding encode(std::string_view text, const EncodeOptions& options = {},
                                std::span<const ProtectedSpan> protected_spans = {}) const;
  // Equal to `tokenizers`' decode: invalid UTF-8 becomes U+FFFD.
  [[nodiscard]] std::string decode(std::span<const int32_t> ids, bool skip_special_tokens = true) const;

  [[nodiscard]] int32_t vocab_size() const;                 // added tokens included
  [[nodiscard]] std::string id_to_token(int32_t id) const;  // as written in the vocabulary; empty where there is none
  [[nodiscard]] int32_t token_to_id(std::string_view token) const;  // -1 where there is none
  [[nodiscard]] bool is_special(int32_t id) const;

 private:
  struct Impl;
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Turns ids into text as they come. Text that ends in half a character, or that a later token may still change,
// is held back; the concatenation of everything emitted equals Tokenizer::decode of all ids.
class IncrementalDetokenizer {
 public:
  explicit IncrementalDetokenizer(const Tokenizer& tokenizer, bool skip_special_tokens = true);
  std::string push(int32_t id);  // the text that became certain, possibly empty
  std::string finish();          // what was held back

 private:
  const Tokenizer* tokenizer_;
  bool skip_special_tokens_;
  std::vector<int32_t> ids_;
  size_t prefix_ = 0;  // ids_[prefix_, read_) were emitted and are kept as context
  size_t read_ = 0;
};

}  // namespace graft::text
