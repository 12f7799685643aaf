#include "text/stages/model.h"

#include "text/stages/bpe.h"
#include "text/stages/json_fields.h"

namespace graft::text {

Result<std::unique_ptr<Model>> make_model(TokenizerFile& file) {
  const auto found = file.root.find("model");
  if (found == file.root.end()) return invalid("model: missing");
  GRAFT_TRY(JsonFields fields, JsonFields::of(*found, "model"));
  GRAFT_TRY(const auto type, fields.optional_string("type"));
  // Files from before the key "type" are told apart by what they hold.
  if (!type.has_value() && file.merges.empty()) return invalid("model.type: missing");
  if (!type.has_value() || *type == "BPE") return make_bpe(fields, file);
  return unsupported_type("model", *type, {"BPE"});
}

}  // namespace graft::text
