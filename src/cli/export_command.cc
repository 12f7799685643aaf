#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <ostream>

#include "base/files.h"
#include "base/strings.h"
#include "cli/command.h"
#include "formats/model_export.h"
#include "formats/model_source.h"
#include "storage/model_record.h"
#include "storage/model_store.h"

namespace graft::cli {
namespace {

using formats::ExportOptions;
using formats::ExportSummary;
using formats::ModelSource;

struct Options {
  std::string format;
  std::string type = "bf16";
  std::string model;
  std::string out;
  double max_shard_gigabytes = 5;
  bool json = false;
};

// A stored model is its source: prepared weights are in the kernels' own form, and rounded. So the source must still be
// what was imported.
Result<std::unique_ptr<ModelSource>> open_model(const std::string& name_or_path) {
  if (fs::exists(name_or_path)) return ModelSource::open(name_or_path);
  GRAFT_TRY(const storage::ModelStore store, storage::ModelStore::open_default());
  GRAFT_TRY(const storage::StoredModel model, store.find(name_or_path));
  GRAFT_TRY(std::unique_ptr<ModelSource> source, ModelSource::open(model.source));
  GRAFT_TRY(const std::vector<storage::FileStamp> stamps, storage::stamp_files(source->files()));
  if (stamps != model.source_files) {
    return conflict(model.source.string() + " has changed since it was imported as '" + model.name +
                    "'; export it by its path, or import it again");
  }
  return source;
}

Status check_destination(const Options& options) {
  std::error_code error;
  if (options.format == "gguf" && fs::is_directory(options.out, error)) {
    return invalid(options.out + " is a directory; name the .gguf file to write");
  }
  if (options.format == "gguf" && fs::exists(options.out, error)) {
    return conflict(options.out + " exists already; remove it first");
  }
  return {};
}

void print(const ExportSummary& summary, const Options& options, std::ostream& out) {
  if (options.json) {
    nlohmann::ordered_json files = nlohmann::ordered_json::array();
    for (const fs::path& file : summary.files) files.push_back(file.string());
    out << nlohmann::ordered_json{{"format", options.format},
                                  {"type", options.type},
                                  {"files", files},
                                  {"weight_bytes", summary.weight_bytes},
                                  {"tensors", summary.tensors_as}}
               .dump()
        << "\n";
    return;
  }
  std::vector<std::string> kinds;
  for (const auto& [kind, count] : summary.tensors_as) kinds.push_back(fmt::format("{} {}", count, kind));
  out << fmt::format("Wrote {} ({:.1f} MB of weights; tensors: {})\n", options.out,
                     static_cast<double>(summary.weight_bytes) / 1e6, join(kinds, ", "));
}

Status export_model(const Options& options, std::ostream& out) {
  ExportOptions export_options;
  const auto type = formats::export_type_from_name(options.type);
  if (!type) return internal_error("type '" + options.type + "' has no meaning");
  export_options.type = *type;
  export_options.max_shard_bytes = static_cast<int64_t>(options.max_shard_gigabytes * 1e9);
  GRAFT_CHECK_OK(check_destination(options));
  GRAFT_TRY(const std::unique_ptr<ModelSource> source, open_model(options.model));
  const auto write = options.format == "gguf" ? formats::export_gguf : formats::export_safetensors;
  GRAFT_TRY(const ExportSummary summary, write(*source, options.out, export_options));
  print(summary, options, out);
  return {};
}

}  // namespace

int run_export(const std::vector<std::string>& arguments, Streams& streams) {
  CLI::App app(
      "Writes a model for other programs: a .gguf file for llama.cpp, or a Hugging Face directory with safetensors. "
      "The weights are the source's, not those prepared for this machine.",
      "graft export");
  Options options;
  app.add_option("--format", options.format, "gguf or safetensors")
      ->required()
      ->check(CLI::IsMember({"gguf", "safetensors"}));
  app.add_option("--type", options.type,
                 "what most weights are written as: f32, f16, bf16; in gguf also q8_0, and q4_k with the mix of types "
                 "that llama.cpp calls Q4_K_M")
      ->check(CLI::IsMember({"f32", "f16", "bf16", "q8_0", "q4_k"}))
      ->capture_default_str();
  app.add_option("--max-shard-size", options.max_shard_gigabytes, "safetensors: split into files of at most so many GB")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_flag("--json", options.json, "print {format, type, files, weight_bytes, tensors}");
  app.add_option("MODEL", options.model, "an imported model, a Hugging Face directory or a .gguf file")->required();
  app.add_option("OUT", options.out, "the file (gguf) or directory (safetensors) to write; must not exist")->required();
  return run_app(app, arguments, streams, [&] { return export_model(options, streams.out); });
}

}  // namespace graft::cli
