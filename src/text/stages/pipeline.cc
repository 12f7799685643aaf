#include "text/stages/pipeline.h"

#include "text/stages/json_fields.h"
#include "text/stages/tokenizer_file.h"

namespace graft::text {

Result<std::unique_ptr<Pipeline>> Pipeline::from_json(std::string_view tokenizer_json) {
  GRAFT_TRY(TokenizerFile file, read_tokenizer_file(tokenizer_json));
  GRAFT_TRY(JsonFields root, JsonFields::of(file.root, ""));
  GRAFT_TRY(const auto version, root.optional_string("version"));
  if (version.has_value() && *version != "1.0") return unsupported("version: only 1.0 is supported");
  // Both prepare batches for a model, which is not the tokenizer's business here; transformers overrides them too.
  root.ignore("truncation");
  root.ignore("padding");
  root.ignore("model");

  auto pipeline = std::make_unique<Pipeline>();
  GRAFT_TRY(pipeline->normalizer, make_normalizer(root.any("normalizer"), "normalizer"));
  GRAFT_TRY(pipeline->pre_tokenizer, make_pre_tokenizer(root.any("pre_tokenizer"), "pre_tokenizer"));
  GRAFT_TRY(pipeline->model, make_model(file));
  GRAFT_TRY(pipeline->added,
            AddedTokens::from_json(root.any("added_tokens"), *pipeline->model, pipeline->normalizer.get()));
  pipeline->id_limit = pipeline->model->id_limit();
  for (const AddedToken& token : pipeline->added.all()) {
    pipeline->id_limit = std::max(pipeline->id_limit, token.id + 1);
  }
  GRAFT_TRY(pipeline->post_processor,
            make_post_processor(root.any("post_processor"), "post_processor", pipeline->id_limit));
  GRAFT_TRY(pipeline->decoder, make_decoder(root.any("decoder"), "decoder"));
  GRAFT_CHECK_OK(root.done());
  return pipeline;
}

std::string_view Pipeline::token(int32_t id) const {
  const AddedToken* found = added.by_id(id);
  return found != nullptr ? std::string_view(found->content) : model->id_to_token(id);
}

bool Pipeline::is_special(int32_t id) const {
  const AddedToken* found = added.by_id(id);
  return found != nullptr && found->special;
}

}  // namespace graft::text
