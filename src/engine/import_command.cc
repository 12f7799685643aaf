#include "engine/import_command.h"

#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/loaded_model.h"
#include "storage/model_store.h"

namespace graft::engine {

namespace {

struct ImportOptions {
  std::string source;
  std::string name;
  std::vector<std::string> dtypes = {"bfloat16"};
  bool json = false;
};

Status run_import(const ImportOptions& options) {
  GRAFT_TRY(const storage::ModelStore store, storage::ModelStore::open_default());
  const auto name = options.name.empty() ? std::optional<std::string>() : std::optional(options.name);
  GRAFT_TRY(const storage::AddedModel added, store.add(options.source, name));
  for (const std::string& dtype : options.dtypes) {
    if (auto prepared = prepare_model(store, added.model, dtype); !prepared.ok()) {
      if (!added.already_there) (void)store.remove(added.model.name);
      return prepared.error();
    }
  }
  if (options.json) {
    const nlohmann::ordered_json out = {{"name", added.model.name},
                                        {"digest", added.model.digest},
                                        {"already_there", added.already_there},
                                        {"parameters", added.model.spec.parameter_count()}};
    fmt::print("{}\n", out.dump());
    return {};
  }
  fmt::print("{} {}: {} parameters, {} layers, context {}\n", added.already_there ? "already imported:" : "imported",
             added.model.name, added.model.spec.parameter_count(), added.model.spec.num_layers,
             added.model.spec.max_position);
  return {};
}

}  // namespace

void add_import_command(CLI::App& app, int* code) {
  auto* command = app.add_subcommand("import", "Take in a model: a .gguf file or a Hugging Face directory");
  auto options = std::make_shared<ImportOptions>();
  command->add_option("source", options->source, "the .gguf file or the directory")->required();
  command->add_option("--name", options->name, "what to call it; default: the name of the file or directory");
  command->add_option("--dtype", options->dtypes, "prepare the weights for these: bfloat16, float32")
      ->check(CLI::IsMember({"bfloat16", "float32"}))
      ->delimiter(',')
      ->capture_default_str();
  command->add_flag("--json", options->json, "print one JSON object");
  command->callback([options, code] {
    const Status status = run_import(*options);
    if (status.ok()) return;
    fmt::print(stderr, "error: {}\n", status.error().message);
    *code = 1;
  });
}

}  // namespace graft::engine
