#include "engine/loaded_model.h"

#include <fmt/format.h>

#include <filesystem>
#include <optional>

#include "model/prepare.h"
#include "model/weights.h"
#include "recipe/prepare_file.h"
#include "storage/model_store.h"

namespace graft::engine {

namespace {

namespace fs = std::filesystem;

// A name of the store, or a path to something that can be added to it.
Result<storage::StoredModel> find_or_add(const storage::ModelStore& store, const std::string& model) {
  auto found = store.find(model);
  std::error_code ignored;
  if (found.ok() || !fs::exists(model, ignored)) return found;
  auto added = store.add(model);
  // The result of a training run is called "model", as every other run's: then its job's name goes before it.
  const fs::path folder = fs::absolute(fs::path(model) / "").lexically_normal().parent_path();
  if (!added.ok() && added.error().kind == ErrorKind::kConflict && folder.filename() == "model") {
    auto renamed = store.add(model, folder.parent_path().filename().string() + "-model");
    if (renamed.ok()) added = std::move(renamed);
  }
  if (!added.ok()) return added.error();
  return std::move(added->model);
}

Result<std::shared_ptr<const text::ChatTemplate>> compile_template(const storage::StoredModel& model) {
  GRAFT_TRY(const auto sources, model.chat_templates());
  if (sources.empty()) return std::shared_ptr<const text::ChatTemplate>();
  auto compiled = text::ChatTemplate::compile(sources);
  if (!compiled.ok()) return at("the chat template of " + model.name, compiled.error());
  return std::shared_ptr<const text::ChatTemplate>(std::move(*compiled));
}

}  // namespace

Result<std::filesystem::path> prepare_model(const storage::ModelStore& store, const storage::StoredModel& model,
                                            const std::string& dtype) {
  const auto stored = model::weight_dtype_from_name(dtype);
  if (!stored) return invalid(fmt::format("dtype {}: one of float32, bfloat16, int8 and int4", dtype));
  const auto prepare = [&stored](const formats::ModelSource& source, const fs::path& file) {
    return model::prepare_weights(
        source.spec(), [&](const std::string& name) { return source.read(name); }, *stored, file);
  };
  return store.prepared(model, fmt::format("{}-{}", dtype, model::kLayoutVersion), prepare);
}

Result<LoadedModel> load_model(const std::string& name, const std::string& dtype) {
  GRAFT_TRY(const storage::ModelStore store, storage::ModelStore::open_default());
  GRAFT_TRY(const storage::StoredModel stored, find_or_add(store, name));
  GRAFT_TRY(const fs::path file, prepare_model(store, stored, dtype));
  GRAFT_TRY(model::Weights weights, model::open_prepared(file, stored.spec));
  GRAFT_TRY(model::Decoder decoder, model::Decoder::create(stored.spec, std::move(weights)));
  GRAFT_TRY(const std::string tokenizer_json, stored.tokenizer_json());
  auto tokenizer = text::Tokenizer::from_json(tokenizer_json, {.clean_up_spaces = stored.clean_up_spaces});
  if (!tokenizer.ok()) return at("the tokenizer of " + stored.name, tokenizer.error());
  LoadedModel loaded;
  loaded.name = stored.name;
  loaded.digest = stored.digest;
  loaded.dtype = dtype;
  loaded.decoder = std::make_shared<const model::Decoder>(std::move(decoder));
  loaded.tokenizer = std::move(*tokenizer);
  GRAFT_TRY(loaded.chat_template, compile_template(stored));
  loaded.template_variables = nlohmann::ordered_json::object();
  for (const auto& [key, text] : stored.special_tokens) loaded.template_variables[key] = text;
  GRAFT_TRY(const auto templates, stored.chat_templates());
  loaded.text_digest =
      recipe::text_digest(tokenizer_json, templates, loaded.template_variables, stored.spec.eos_token_ids);
  return loaded;
}

}  // namespace graft::engine
