#include "text/stages/post_processor.h"

#include <map>

#include "base/strings.h"
#include "text/stages/json_fields.h"

namespace graft::text {
namespace {

constexpr int kDeepestSequence = 8;

// Moves offsets only, which are exact here as they are.
class ByteLevelOffsets : public PostProcessor {
 public:
  void around(std::vector<int32_t>& /*before*/, std::vector<int32_t>& /*behind*/) const override {}
};

class TemplateProcessing : public PostProcessor {
 public:
  TemplateProcessing(std::vector<int32_t> before, std::vector<int32_t> behind)
      : before_(std::move(before)), behind_(std::move(behind)) {}
  // An outer processor wraps what an inner one made.
  void around(std::vector<int32_t>& before, std::vector<int32_t>& behind) const override {
    before.insert(before.begin(), before_.begin(), before_.end());
    behind.insert(behind.end(), behind_.begin(), behind_.end());
  }

 private:
  std::vector<int32_t> before_;
  std::vector<int32_t> behind_;
};

class PostProcessorSequence : public PostProcessor {
 public:
  explicit PostProcessorSequence(std::vector<std::unique_ptr<PostProcessor>> parts) : parts_(std::move(parts)) {}
  void around(std::vector<int32_t>& before, std::vector<int32_t>& behind) const override {
    for (const auto& part : parts_) part->around(before, behind);
  }

 private:
  std::vector<std::unique_ptr<PostProcessor>> parts_;
};

using SpecialTokens = std::map<std::string, std::vector<int32_t>>;

Result<SpecialTokens> read_special_tokens(JsonFields& fields, int32_t id_limit) {
  SpecialTokens special;
  GRAFT_TRY(const nlohmann::json* specs, fields.object("special_tokens"));
  for (const auto& item : specs->items()) {
    const std::string path = fields.path_of("special_tokens['" + printable(item.key()) + "']");
    GRAFT_TRY(JsonFields token, JsonFields::of(item.value(), path));
    token.ignore("id");
    token.ignore("tokens");
    GRAFT_TRY(const nlohmann::json* ids, token.array("ids"));
    GRAFT_CHECK_OK(token.done());
    for (size_t i = 0; i < ids->size(); ++i) {
      const std::string where = path + ".ids[" + std::to_string(i) + "]";
      GRAFT_TRY(const int32_t id, token_id_from((*ids)[i], where));
      if (id >= id_limit) return invalid(where + ": no token has id " + std::to_string(id));
      special[item.key()].push_back(id);
    }
  }
  return special;
}

// One piece of a template: {"SpecialToken": {"id": name, "type_id": n}} or {"Sequence": {"id": "A", ...}}.
struct TemplatePiece {
  bool is_sequence = false;
  std::string id;
};

Result<TemplatePiece> read_piece(const nlohmann::json& spec, const std::string& path) {
  GRAFT_TRY(JsonFields fields, JsonFields::of(spec, path));
  const nlohmann::json* token = fields.any("SpecialToken");
  const nlohmann::json* sequence = fields.any("Sequence");
  GRAFT_CHECK_OK(fields.done());
  if ((token == nullptr) == (sequence == nullptr)) {
    return invalid(path + ": expected one of SpecialToken and Sequence");
  }
  GRAFT_TRY(JsonFields inner, JsonFields::of(token != nullptr ? *token : *sequence, path));
  TemplatePiece piece{.is_sequence = sequence != nullptr, .id = {}};
  GRAFT_TRY(piece.id, inner.string("id"));
  inner.ignore("type_id");
  GRAFT_CHECK_OK(inner.done());
  return piece;
}

Result<std::unique_ptr<PostProcessor>> make_template(JsonFields& fields, int32_t id_limit) {
  GRAFT_TRY(const SpecialTokens special, read_special_tokens(fields, id_limit));
  GRAFT_TRY(const nlohmann::json* single, fields.array("single"));
  fields.ignore("pair");  // texts are encoded one at a time here
  std::vector<int32_t> before;
  std::vector<int32_t> behind;
  bool seen_text = false;
  for (size_t i = 0; i < single->size(); ++i) {
    const std::string path = fields.path_of("single[" + std::to_string(i) + "]");
    GRAFT_TRY(const TemplatePiece piece, read_piece((*single)[i], path));
    if (piece.is_sequence) {
      if (piece.id != "A" || seen_text) return invalid(path + ": expected the text, Sequence A, just once");
      seen_text = true;
      continue;
    }
    const auto ids = special.find(piece.id);
    if (ids == special.end()) return invalid(path + ": '" + printable(piece.id) + "' is not in special_tokens");
    auto& side = seen_text ? behind : before;
    side.insert(side.end(), ids->second.begin(), ids->second.end());
  }
  if (!seen_text) return invalid(fields.path_of("single") + ": Sequence A, the text, is missing");
  return std::unique_ptr<PostProcessor>(std::make_unique<TemplateProcessing>(std::move(before), std::move(behind)));
}

Result<std::unique_ptr<PostProcessor>> make(const nlohmann::json& spec, const std::string& path, int32_t id_limit,
                                            int depth);

Result<std::unique_ptr<PostProcessor>> make_sequence(JsonFields& fields, int32_t id_limit, int depth) {
  if (depth == kDeepestSequence) return invalid(fields.path() + ": sequences nested too deep");
  GRAFT_TRY(const nlohmann::json* specs, fields.array("processors"));
  std::vector<std::unique_ptr<PostProcessor>> parts;
  for (size_t i = 0; i < specs->size(); ++i) {
    const std::string path = fields.path_of("processors[" + std::to_string(i) + "]");
    GRAFT_TRY(auto part, make((*specs)[i], path, id_limit, depth + 1));
    parts.push_back(std::move(part));
  }
  return std::unique_ptr<PostProcessor>(std::make_unique<PostProcessorSequence>(std::move(parts)));
}

Result<std::unique_ptr<PostProcessor>> make(const nlohmann::json& spec, const std::string& path, int32_t id_limit,
                                            int depth) {
  GRAFT_TRY(JsonFields fields, JsonFields::of(spec, path));
  GRAFT_TRY(const std::string type, fields.string("type"));
  using Made = Result<std::unique_ptr<PostProcessor>>;
  const auto dispatch = [&]() -> Made {
    if (type == "TemplateProcessing") return make_template(fields, id_limit);
    if (type == "Sequence") return make_sequence(fields, id_limit, depth);
    if (type != "ByteLevel") return unsupported_type(path, type, {"ByteLevel", "Sequence", "TemplateProcessing"});
    for (const char* key : {"add_prefix_space", "trim_offsets", "use_regex"}) fields.ignore(key);
    return std::unique_ptr<PostProcessor>(std::make_unique<ByteLevelOffsets>());
  };
  GRAFT_TRY(auto made, dispatch());
  GRAFT_CHECK_OK(fields.done());
  return made;
}

}  // namespace

Result<std::unique_ptr<PostProcessor>> make_post_processor(const nlohmann::json* spec, const std::string& path,
                                                           int32_t id_limit) {
  if (spec == nullptr) return std::unique_ptr<PostProcessor>();
  return make(*spec, path, id_limit, 0);
}

}  // namespace graft::text
