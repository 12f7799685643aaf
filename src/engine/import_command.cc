#include "engine/import_command.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/progress.h"
#include "engine/loaded_model.h"
#include "storage/model_origin.h"
#include "storage/model_store.h"

namespace graft::engine {

namespace {

struct ImportOptions {
  std::string source;
  std::string file;
  std::string name;
  std::vector<std::string> dtypes = {"bfloat16"};
  bool json = false;
};

// A line or bar on stderr while files are fetched. The total may grow on the way: then it starts anew.
class FetchDisplay {
 public:
  explicit FetchDisplay(bool quiet) : style_(quiet ? ProgressStyle::kQuiet : progress_style_for(STDERR_FILENO)) {}

  void show(const storage::FetchProgress& now) {
    constexpr int64_t kMebi = 1 << 20;
    if (!progress_ || total_ != now.total) {
      total_ = now.total;
      progress_.emplace(std::cerr, Progress::Options{.style = style_,
                                                     .label = "fetching",
                                                     .unit = "MiB",
                                                     .total = std::max<int64_t>((total_ + kMebi - 1) / kMebi, 1),
                                                     .done = now.done / kMebi});
    }
    progress_->update(now.done >= total_ ? (total_ + kMebi - 1) / kMebi : now.done / kMebi, now.file);
  }

 private:
  ProgressStyle style_;
  int64_t total_ = 0;
  std::optional<Progress> progress_;
};

Result<storage::LocalModel> bring(const ImportOptions& options) {
  GRAFT_TRY(const fs::path home, graft_home());
  FetchDisplay display(options.json);
  return storage::bring_model(options.source, options.file, home,
                              [&](const storage::FetchProgress& now) { display.show(now); });
}

Status run_import(const ImportOptions& options) {
  GRAFT_TRY(const storage::ModelStore store, storage::ModelStore::open_default());
  GRAFT_TRY(const storage::LocalModel local, bring(options));
  const auto name = options.name.empty() ? local.name : std::optional(options.name);
  GRAFT_TRY(const storage::AddedModel added, store.add(local.path, name));
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
  auto* command = app.add_subcommand(
      "import", "Take in a model: a .gguf file, a Hugging Face directory, ORG/NAME from a hub, or a URI");
  auto options = std::make_shared<ImportOptions>();
  command
      ->add_option(
          "source", options->source,
          "a .gguf file, a directory, ORG/NAME[@REVISION] on a hub (HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE), or "
          "s3://, gs://, abfs://, file://")
      ->required();
  command->add_option("--file", options->file, "which .gguf file, where there are several");
  command->add_option("--name", options->name, "what to call it; default: the name of the file or directory");
  command->add_option("--dtype", options->dtypes, "prepare the weights for these: bfloat16, float32, int8, int4")
      ->check(CLI::IsMember({"bfloat16", "float32", "int8", "int4"}))
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
