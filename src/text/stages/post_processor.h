#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/result.h"

namespace graft::text {

// The last stage of encoding: puts tokens such as BOS around the text's.
class PostProcessor {
 public:
  virtual ~PostProcessor() = default;
  // The ids to put before and behind those of the text.
  virtual void around(std::vector<int32_t>& before, std::vector<int32_t>& behind) const = 0;
};

// Where `id_limit` bounds the ids that a template may name. nullptr where `spec` is null.
Result<std::unique_ptr<PostProcessor>> make_post_processor(const nlohmann::json* spec, const std::string& path,
                                                           int32_t id_limit);

}  // namespace graft::text
