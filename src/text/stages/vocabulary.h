#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/stages/flat_hash.h"
#include "text/stages/tokenizer_file.h"

namespace graft::text {

// The tokens of a model, which is an object {token: id} in the file. Built once, then only read.
class Vocabulary {
 public:
  // Takes the file's list. Errors name the token: its id is no id, is taken, or lies far beyond the number of tokens.
  static Result<Vocabulary> from(TokenizerFile& file);

  [[nodiscard]] int32_t find(std::string_view token) const { return ids_.find(token); }
  [[nodiscard]] std::string_view token(int32_t id) const {
    return id >= 0 && id < id_limit() ? std::string_view(tokens_[static_cast<size_t>(id)]) : std::string_view();
  }
  [[nodiscard]] int32_t id_limit() const { return static_cast<int32_t>(tokens_.size()); }
  [[nodiscard]] int32_t size() const { return size_; }

 private:
  std::vector<std::string> tokens_;  // by id; empty where there is a hole
  StringIds ids_;
  int32_t size_ = 0;
};

// <0x00> to <0xFF>: how a vocabulary spells the bytes of unknown characters.
std::string byte_token(uint8_t byte);

}  // namespace graft::text
