#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/stages/json_fields.h"
#include "text/stages/normalizer.h"

namespace graft::text {

// A normaliser that goes over the text once.
class OnePassNormalizer : public Normalizer {
 public:
  [[nodiscard]] std::string normalize(std::string_view text, OffsetMaps* maps) const final {
    if (maps == nullptr) return rewrite(text, nullptr);
    OffsetMap map;
    std::string normalized = rewrite(text, &map);
    maps->push(std::move(map));
    return normalized;
  }
  [[nodiscard]] bool may_change(std::string_view text) const override { return !text.empty(); }

 protected:
  [[nodiscard]] virtual std::string rewrite(std::string_view text, OffsetMap* map) const = 0;
};

class NormalizerSequence : public Normalizer {
 public:
  explicit NormalizerSequence(std::vector<std::unique_ptr<Normalizer>> parts) : parts_(std::move(parts)) {}
  [[nodiscard]] std::string normalize(std::string_view text, OffsetMaps* maps) const override;
  [[nodiscard]] bool may_change(std::string_view text) const override;

 private:
  std::vector<std::unique_ptr<Normalizer>> parts_;
};

// The one of a type; each maker reads its own keys. nullptr where no normaliser is called that.
Result<std::unique_ptr<Normalizer>> make_character_normalizer(std::string_view type, JsonFields& fields);
Result<std::unique_ptr<Normalizer>> make_bert_normalizer(JsonFields& fields);
Result<std::unique_ptr<Normalizer>> make_precompiled(JsonFields& fields);
Result<std::unique_ptr<Normalizer>> make_replace(JsonFields& fields);

}  // namespace graft::text
