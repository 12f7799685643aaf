#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/unicode/offset_map.h"

namespace graft::text {

// The first stage: rewrites text before it is cut up. Immutable: one object serves all threads.
class Normalizer {
 public:
  virtual ~Normalizer() = default;
  // Valid UTF-8 in and out. `maps`, where given, receives where the bytes come from: one map per rewriting, in order.
  [[nodiscard]] virtual std::string normalize(std::string_view text, OffsetMaps* maps) const = 0;
  // False where normalize() is certain to return the text as it is.
  [[nodiscard]] virtual bool may_change(std::string_view text) const = 0;
};

// nullptr where `spec` is null: no normaliser.
Result<std::unique_ptr<Normalizer>> make_normalizer(const nlohmann::json* spec, const std::string& path);

}  // namespace graft::text
