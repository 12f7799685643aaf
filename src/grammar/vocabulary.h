#pragma once

#include <xgrammar/tokenizer_info.h>

#include <cstdint>
#include <string>
#include <vector>

namespace graft::grammar {

class Vocabulary {
 public:
  // `bytes`: of each id; padded with empty ones up to `model_ids`.
  Vocabulary(std::vector<std::string> bytes, int64_t model_ids, const std::vector<int32_t>& end_tokens);

  [[nodiscard]] const xgrammar::TokenizerInfo& info() const { return info_; }
  [[nodiscard]] int32_t size() const { return info_.GetVocabSize(); }
  [[nodiscard]] bool has_end() const { return !info_.GetStopTokenIds().empty(); }

 private:
  xgrammar::TokenizerInfo info_;
};

}  // namespace graft::grammar
