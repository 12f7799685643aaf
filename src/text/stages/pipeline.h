#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "text/stages/added_tokens.h"
#include "text/stages/decoder.h"
#include "text/stages/model.h"
#include "text/stages/normalizer.h"
#include "text/stages/post_processor.h"
#include "text/stages/pre_tokenizer.h"

namespace graft::text {

// The stages of one tokenizer.json, in the order in which a text goes through them. Immutable.
struct Pipeline {
  AddedTokens added;
  std::unique_ptr<Normalizer> normalizer;       // may be null
  std::unique_ptr<PreTokenizer> pre_tokenizer;  // may be null
  std::unique_ptr<Model> model;
  std::unique_ptr<PostProcessor> post_processor;  // may be null
  std::unique_ptr<Decoder> decoder;
  int32_t id_limit = 0;  // one more than the largest id

  static Result<std::unique_ptr<Pipeline>> from_json(std::string_view tokenizer_json);

  // As it is spelled in the vocabulary; empty where the id is unknown.
  [[nodiscard]] std::string_view token(int32_t id) const;
  [[nodiscard]] bool is_special(int32_t id) const;
};

// Takes the text through all stages but the post-processor. Added tokens that overlap a span of `protected_ranges`
// are not recognised.
std::vector<EncodedToken> encode(const Pipeline& pipeline, std::string_view input,
                                 std::span<const ByteRange> protected_ranges);

}  // namespace graft::text
