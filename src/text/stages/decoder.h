#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/result.h"

namespace graft::text {

// Text growing token by token. Whole texts are decoded through it too, so the two agree by construction.
class DecodeStream {
 public:
  virtual ~DecodeStream() = default;
  // Appends the text that is certain once this token has come. `token` is spelled as in the vocabulary.
  virtual void push(std::string_view token, std::string& out) = 0;
  // Appends what was held back; the stream ends.
  virtual void finish(std::string& out) = 0;
};

// Turns tokens back into text. Immutable.
class Decoder {
 public:
  virtual ~Decoder() = default;
  [[nodiscard]] virtual std::unique_ptr<DecodeStream> stream() const = 0;
};

// Where `spec` is null: tokens as they are, with a space between, as in `tokenizers`.
Result<std::unique_ptr<Decoder>> make_decoder(const nlohmann::json* spec, const std::string& path);

}  // namespace graft::text
