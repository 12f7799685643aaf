#include "cli/model_text.h"

#include "base/files.h"
#include "formats/model_source.h"
#include "storage/model_store.h"

namespace graft::cli {

Result<ModelText> load_model_text(const std::string& name_or_path) {
  if (fs::exists(name_or_path)) {
    GRAFT_TRY(const auto source, formats::ModelSource::open(name_or_path));
    return ModelText{source->tokenizer_json(), source->chat_templates(), source->special_tokens(), source->spec()};
  }
  GRAFT_TRY(const storage::ModelStore store, storage::ModelStore::open_default());
  GRAFT_TRY(const storage::StoredModel model, store.find(name_or_path));
  ModelText text;
  GRAFT_TRY(text.tokenizer_json, model.tokenizer_json());
  GRAFT_TRY(text.chat_templates, model.chat_templates());
  text.special_tokens = model.special_tokens;
  text.spec = model.spec;
  return text;
}

}  // namespace graft::cli
