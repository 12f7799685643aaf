#include "text/stages/model.h"

#include "text/stages/json_fields.h"
#include "text/stages/models.h"

namespace graft::text {
namespace {

// The large lists are not in the tree where they are of the right kind.
Status check_lists(JsonFields& fields, const TokenizerFile& file, bool is_unigram) {
  const nlohmann::json* vocab = fields.any("vocab");
  const char* expected = is_unigram ? "an array of tokens and scores" : "an object";
  if (vocab != nullptr)
    return invalid("model.vocab: expected " + std::string(expected) + ", found " + vocab->type_name());
  if (is_unigram ? !file.vocab.empty() : !file.pieces.empty()) {
    return invalid("model.vocab: expected " + std::string(expected) + ", found " + (is_unigram ? "object" : "array"));
  }
  if (const nlohmann::json* merges = fields.any("merges"); merges != nullptr) {
    return invalid("model.merges: expected an array, found " + std::string(merges->type_name()));
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<Model>> make_model(TokenizerFile& file) {
  const auto found = file.root.find("model");
  if (found == file.root.end()) return invalid("model: missing");
  GRAFT_TRY(JsonFields fields, JsonFields::of(*found, "model"));
  GRAFT_TRY(auto type, fields.optional_string("type"));
  if (!type.has_value()) {
    // Files from before the key "type" are told apart by what they hold.
    const bool has_prefix = fields.any("continuing_subword_prefix") != nullptr;
    if (file.merges.empty() && file.pieces.empty() && !has_prefix) return invalid("model.type: missing");
    type = !file.pieces.empty() ? "Unigram" : !file.merges.empty() ? "BPE" : "WordPiece";
  }
  const bool is_unigram = *type == "Unigram";
  if (!is_unigram && *type != "BPE" && *type != "WordPiece" && *type != "WordLevel") {
    return unsupported_type("model", *type, {"BPE", "Unigram", "WordLevel", "WordPiece"});
  }
  GRAFT_CHECK_OK(check_lists(fields, file, is_unigram));
  using Made = Result<std::unique_ptr<Model>>;
  const auto make = [&]() -> Made {
    if (is_unigram) return make_unigram(fields, file);
    if (*type == "BPE") return make_bpe(fields, file);
    return *type == "WordPiece" ? make_word_piece(fields, file) : make_word_level(fields, file);
  };
  GRAFT_TRY(auto model, make());
  GRAFT_CHECK_OK(fields.done());
  return model;
}

}  // namespace graft::text
