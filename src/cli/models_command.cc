#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <ostream>

#include "base/strings.h"
#include "cli/command.h"
#include "storage/model_store.h"

namespace graft::cli {
namespace {

using storage::ModelStore;
using storage::StoredModel;

nlohmann::ordered_json to_json(const StoredModel& model) {
  return {{"name", model.name},
          {"architecture", model.spec.architecture},
          {"parameters", model.spec.parameter_count()},
          {"context", model.spec.max_position},
          {"prepared", model.prepared_variants()},
          {"source", model.source.string()},
          {"digest", model.digest},
          {"created", model.created}};
}

// 134515008 -> "135M"
std::string short_count(int64_t count) {
  const auto value = static_cast<double>(count);
  if (value >= 1e9) return fmt::format("{:.1f}B", value / 1e9);
  if (value >= 1e6) return fmt::format("{:.0f}M", value / 1e6);
  return fmt::format("{:.0f}K", value / 1e3);
}

Status list(const ModelStore& store, bool json, std::ostream& out) {
  GRAFT_TRY(const std::vector<StoredModel> models, store.list());
  if (json) {
    nlohmann::ordered_json rows = nlohmann::ordered_json::array();
    for (const StoredModel& model : models) rows.push_back(to_json(model));
    out << rows.dump(2) << "\n";
    return {};
  }
  if (models.empty()) {
    out << "No models yet. Import one: graft import SOURCE\n";
    return {};
  }
  size_t width = 4;
  for (const StoredModel& model : models) width = std::max(width, model.name.size());
  out << fmt::format("{:<{}}  {:>10}  {:>8}  {:<24}  {}\n", "NAME", width, "PARAMETERS", "CONTEXT", "PREPARED",
                     "SOURCE");
  for (const StoredModel& model : models) {
    out << fmt::format("{:<{}}  {:>10}  {:>8}  {:<24}  {}\n", model.name, width,
                       short_count(model.spec.parameter_count()), model.spec.max_position,
                       join(model.prepared_variants(), ","), model.source.string());
  }
  return {};
}

}  // namespace

int run_models(const std::vector<std::string>& arguments, Streams& streams) {
  CLI::App app("Lists the imported models.", "graft models");
  bool json = false;
  std::string doomed;
  app.add_flag("--json", json, "print a JSON array");
  CLI::App* remove = app.add_subcommand("remove", "forget a model and its prepared weights; its source stays");
  remove->add_option("NAME", doomed, "the model's name")->required();
  return run_app(app, arguments, streams, [&]() -> Status {
    GRAFT_TRY(const ModelStore store, ModelStore::open_default());
    return remove->parsed() ? store.remove(doomed) : list(store, json, streams.out);
  });
}

}  // namespace graft::cli
