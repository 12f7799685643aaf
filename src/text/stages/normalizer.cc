#include "text/stages/normalizer.h"

#include <algorithm>

#include "text/stages/json_fields.h"
#include "text/unicode/nfc.h"

namespace graft::text {
namespace {

constexpr int kDeepestSequence = 8;

class NfcNormalizer : public Normalizer {
 public:
  [[nodiscard]] std::string normalize(std::string_view text, std::vector<OffsetMap>* maps) const override {
    if (maps == nullptr) return nfc(text);
    OffsetMap map;
    std::string normalized = nfc(text, &map);
    if (!map.identity()) maps->push_back(std::move(map));
    return normalized;
  }
  [[nodiscard]] bool may_change(std::string_view text) const override { return may_change_under_nfc(text); }
};

class NormalizerSequence : public Normalizer {
 public:
  explicit NormalizerSequence(std::vector<std::unique_ptr<Normalizer>> parts) : parts_(std::move(parts)) {}
  [[nodiscard]] std::string normalize(std::string_view text, std::vector<OffsetMap>* maps) const override {
    std::string normalized(text);
    for (const auto& part : parts_) {
      if (part->may_change(normalized)) normalized = part->normalize(normalized, maps);
    }
    return normalized;
  }
  [[nodiscard]] bool may_change(std::string_view text) const override {
    return std::any_of(parts_.begin(), parts_.end(), [&](const auto& part) { return part->may_change(text); });
  }

 private:
  std::vector<std::unique_ptr<Normalizer>> parts_;
};

Result<std::unique_ptr<Normalizer>> make(const nlohmann::json& spec, const std::string& path, int depth) {
  GRAFT_TRY(JsonFields fields, JsonFields::of(spec, path));
  GRAFT_TRY(const std::string type, fields.string("type"));
  std::unique_ptr<Normalizer> made;
  if (type == "NFC") {
    made = std::make_unique<NfcNormalizer>();
  } else if (type == "Sequence") {
    if (depth == kDeepestSequence) return invalid(path + ": sequences nested too deep");
    GRAFT_TRY(const nlohmann::json* specs, fields.array("normalizers"));
    std::vector<std::unique_ptr<Normalizer>> parts;
    for (size_t i = 0; i < specs->size(); ++i) {
      GRAFT_TRY(auto part, make((*specs)[i], path + ".normalizers[" + std::to_string(i) + "]", depth + 1));
      parts.push_back(std::move(part));
    }
    made = std::make_unique<NormalizerSequence>(std::move(parts));
  } else {
    return unsupported_type(path, type, {"NFC", "Sequence"});
  }
  GRAFT_CHECK_OK(fields.done());
  return made;
}

}  // namespace

Result<std::unique_ptr<Normalizer>> make_normalizer(const nlohmann::json* spec, const std::string& path) {
  if (spec == nullptr) return std::unique_ptr<Normalizer>();
  return make(*spec, path, 0);
}

}  // namespace graft::text
