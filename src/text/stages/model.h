#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/stages/tokenizer_file.h"

namespace graft::text {

struct ModelToken {
  static constexpr uint32_t kShared = 1U << 31;
  int32_t id = 0;
  uint32_t size = 0;  // bytes of the word that it covers; with kShared set, the next token covers the same ones
  [[nodiscard]] size_t bytes() const { return size & ~kShared; }
  [[nodiscard]] bool is_shared() const { return (size & kShared) != 0; }
};

// Cuts a word into tokens. Immutable: one model serves all threads.
class Model {
 public:
  virtual ~Model() = default;

  // Appends the word's tokens. With `byte_level`, which only a model that reads_bytes() is given, `word` is raw bytes,
  // each of which stands for a character of the byte-level alphabet (byte_level.h), and sizes count those bytes;
  // without, it is UTF-8 as the vocabulary spells it. Sizes may sum up to less than the word where characters are
  // unknown.
  virtual void tokenize(std::string_view word, bool byte_level, std::vector<ModelToken>& out) const = 0;

  [[nodiscard]] virtual bool reads_bytes() const { return false; }

  [[nodiscard]] virtual int32_t token_to_id(std::string_view token) const = 0;  // -1 where there is none
  [[nodiscard]] virtual std::string_view id_to_token(int32_t id) const = 0;     // empty where there is none
  [[nodiscard]] virtual int32_t id_limit() const = 0;                           // one more than the largest id
  [[nodiscard]] virtual int32_t size() const = 0;                               // the number of tokens
};

Result<std::unique_ptr<Model>> make_model(TokenizerFile& file);

}  // namespace graft::text
