#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <optional>
#include <ostream>

#include "base/files.h"
#include "base/strings.h"
#include "cli/command.h"
#include "formats/merged_weights.h"
#include "formats/model_export.h"
#include "formats/model_source.h"
#include "storage/open_source.h"

namespace graft::cli {
namespace {

using formats::ExportOptions;
using formats::ExportSummary;
using formats::ExportType;
using formats::MergedWeights;
using formats::ModelSource;

constexpr const char* kDefaultType = "bf16";

struct Options {
  std::string format;
  std::optional<std::string> type;  // by default bf16; of an adapter, as it is
  std::string model;
  std::string adapter;
  std::string out;
  double max_shard_gigabytes = 5;
  bool json = false;
};

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
                                  {"type",
                                   options.type.value_or(options.format == "peft" ? "as it was" : kDefaultType)},
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

Result<std::optional<ExportType>> type_of(const Options& options) {
  if (!options.type) return std::optional<ExportType>();
  const auto type = formats::export_type_from_name(*options.type);
  if (!type) return internal_error("type '" + *options.type + "' has no meaning");
  return type;
}

Result<ExportSummary> write(const Options& options, const ModelSource& source, std::optional<ExportType> type) {
  if (options.format == "peft") return formats::export_peft(options.adapter, source.spec(), options.out, type);
  ExportOptions export_options;
  export_options.type = type.value_or(ExportType::kBF16);
  export_options.max_shard_bytes = static_cast<int64_t>(options.max_shard_gigabytes * 1e9);
  std::optional<MergedWeights> merged;
  if (!options.adapter.empty()) {
    GRAFT_TRY(merged, MergedWeights::open(source, options.adapter));
    export_options.read = [&merged](const std::string& name) { return merged->read(name); };
  }
  const auto write_model = options.format == "gguf" ? formats::export_gguf : formats::export_safetensors;
  return write_model(source, options.out, export_options);
}

Status export_model(const Options& options, std::ostream& out) {
  if (options.format == "peft" && options.adapter.empty()) return invalid("--format peft needs --adapter DIR");
  GRAFT_TRY(const std::optional<ExportType> type, type_of(options));
  GRAFT_CHECK_OK(check_destination(options));
  GRAFT_TRY(const std::unique_ptr<ModelSource> source, storage::open_model_source(options.model));
  GRAFT_TRY(const ExportSummary summary, write(options, *source, type));
  print(summary, options, out);
  return {};
}

}  // namespace

int run_export(const std::vector<std::string>& arguments, Streams& streams) {
  CLI::App app(
      "Writes a model for other programs: a .gguf file for llama.cpp, or a Hugging Face directory with safetensors; "
      "with "
      "--adapter, the model with the adapter folded in (graft merge also says how far that is from the two apart), or "
      "the adapter alone for PEFT. The weights are the source's, not those prepared for this machine.",
      "graft export");
  Options options;
  app.add_option("--format", options.format, "gguf, safetensors, or peft: the adapter alone")
      ->required()
      ->check(CLI::IsMember({"gguf", "safetensors", "peft"}));
  app.add_option("--adapter", options.adapter, "a PEFT directory to fold into the weights, or to write as peft");
  app.add_option(
         "--type", options.type,
         "what most weights are written as: f32, f16, bf16 (the default; in peft, as they are); in gguf also q8_0, "
         "and q4_k with the mix of types that llama.cpp calls Q4_K_M")
      ->check(CLI::IsMember({"f32", "f16", "bf16", "q8_0", "q4_k"}));
  app.add_option("--max-shard-size", options.max_shard_gigabytes, "safetensors: split into files of at most so many GB")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_flag("--json", options.json, "print {format, type, files, weight_bytes, tensors}");
  app.add_option("MODEL", options.model, "an imported model, a Hugging Face directory or a .gguf file")->required();
  app.add_option("OUT", options.out, "the file (gguf) or directory (safetensors, peft) to write; must not exist")
      ->required();
  return run_app(app, arguments, streams, [&] { return export_model(options, streams.out); });
}

}  // namespace graft::cli
