#include "text/stages/normalizer.h"

#include <algorithm>

#include "text/stages/json_fields.h"
#include "text/stages/normalizers.h"

namespace graft::text {
namespace {

constexpr int kDeepestSequence = 8;

using Made = Result<std::unique_ptr<Normalizer>>;

Made make(const nlohmann::json& spec, const std::string& path, int depth);

Made make_sequence(JsonFields& fields, int depth) {
  if (depth == kDeepestSequence) return invalid(fields.path() + ": sequences nested too deep");
  GRAFT_TRY(const nlohmann::json* specs, fields.array("normalizers"));
  std::vector<std::unique_ptr<Normalizer>> parts;
  for (size_t i = 0; i < specs->size(); ++i) {
    GRAFT_TRY(auto part, make((*specs)[i], fields.path_of("normalizers[" + std::to_string(i) + "]"), depth + 1));
    parts.push_back(std::move(part));
  }
  return std::unique_ptr<Normalizer>(std::make_unique<NormalizerSequence>(std::move(parts)));
}

Made make(const nlohmann::json& spec, const std::string& path, int depth) {
  GRAFT_TRY(JsonFields fields, JsonFields::of(spec, path));
  GRAFT_TRY(const std::string type, fields.string("type"));
  const auto dispatch = [&]() -> Made {
    if (type == "Sequence") return make_sequence(fields, depth);
    if (type == "Replace") return make_replace(fields);
    if (type == "Precompiled") return make_precompiled(fields);
    if (type == "BertNormalizer") return make_bert_normalizer(fields);
    return make_character_normalizer(type, fields);
  };
  GRAFT_TRY(auto made, dispatch());
  if (made == nullptr) {
    return unsupported_type(path, type,
                            {"BertNormalizer", "ByteLevel", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "Nmt",
                             "Precompiled", "Prepend", "Replace", "Sequence", "Strip", "StripAccents"});
  }
  GRAFT_CHECK_OK(fields.done());
  return made;
}

}  // namespace

std::string NormalizerSequence::normalize(std::string_view text, OffsetMaps* maps) const {
  std::string normalized(text);
  for (const auto& part : parts_) {
    if (part->may_change(normalized)) normalized = part->normalize(normalized, maps);
  }
  return normalized;
}

bool NormalizerSequence::may_change(std::string_view text) const {
  return std::any_of(parts_.begin(), parts_.end(), [&](const auto& part) { return part->may_change(text); });
}

Made make_normalizer(const nlohmann::json* spec, const std::string& path) {
  if (spec == nullptr) return std::unique_ptr<Normalizer>();
  return make(*spec, path, 0);
}

}  // namespace graft::text
