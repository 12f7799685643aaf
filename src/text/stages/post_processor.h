#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/stages/source.h"

namespace graft::text {

struct EncodedToken {
  int32_t id = 0;
  ByteRange range;  // of the input; [0, 0) where a post-processor put the token in
};

// A text's tokens on their way through the post-processors.
struct PostProcessed {
  std::vector<EncodedToken> tokens;
  std::string_view input;                             // UTF-8, mostly
  std::function<std::string_view(int32_t)> spelling;  // of a token in the vocabulary
  bool add_special_tokens = true;
};

// The last stage of encoding: puts tokens such as BOS around the text's, and may narrow their ranges. Immutable.
class PostProcessor {
 public:
  virtual ~PostProcessor() = default;
  virtual void apply(PostProcessed& text) const = 0;
};

// Where `id_limit` bounds the ids that a template may name. nullptr where `spec` is null.
Result<std::unique_ptr<PostProcessor>> make_post_processor(const nlohmann::json* spec, const std::string& path,
                                                           int32_t id_limit);

}  // namespace graft::text
