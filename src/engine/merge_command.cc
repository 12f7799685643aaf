#include "engine/merge_command.h"

#include <fmt/format.h>

#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "engine/merge_check.h"
#include "engine/quantised_base.h"
#include "formats/merged_weights.h"
#include "formats/model_export.h"
#include "ops/cpu/parallel.h"
#include "serving/api/certificate.h"
#include "storage/open_source.h"

namespace graft::engine {

namespace {

struct MergeOptions {
  std::string model;
  std::string adapter;
  std::string output;
  std::string dtype = "bfloat16";
  std::string base_dtype = "auto";
  double max_shard_gigabytes = 5;
  std::string prompts;
  bool no_kl = false;
  bool json = false;
  int32_t threads = 0;
};

formats::ExportType export_type(const std::string& dtype) {
  if (dtype == "float32") return formats::ExportType::kF32;
  return dtype == "float16" ? formats::ExportType::kF16 : formats::ExportType::kBF16;
}

// int8 or int4 where the base is to be taken as an engine of that dtype holds it, else empty.
std::string held_dtype(const MergeOptions& options) {
  std::string dtype = options.base_dtype;
  if (dtype == "auto") {
    const auto certificate = serving::api::read_certificate(options.adapter);
    dtype = certificate.ok() ? certificate->dtype : "";
  }
  return dtype == "int8" || dtype == "int4" ? dtype : "";
}

// No error: folding what was trained on a quantised base into the original weights is a thing that people do.
Status warn_of_another_base(const formats::ModelSource& source, const std::string& adapter) {
  const auto certificate = serving::api::read_certificate(adapter);
  if (!certificate.ok() || certificate->base_digest.empty()) return {};
  GRAFT_TRY(const std::string digest, source.digest());
  if (digest == certificate->base_digest) return {};
  fmt::print(
      stderr,
      "warning: {} was trained on another base model (SHA-256 {:.12}...) than this ({:.12}...): the merge is not "
      "what its training saw\n",
      adapter, certificate->base_digest, digest);
  return {};
}

Result<formats::ExportSummary> write_merged(const MergeOptions& options, const std::string& base_dtype) {
  GRAFT_TRY(const auto source, storage::open_model_source(options.model));
  formats::MergedWeights::Read read_base;
  if (const auto held = model::weight_dtype_from_name(base_dtype)) {
    read_base = [&source, held](const std::string& name) { return read_as_held(*source, name, *held); };
  }
  GRAFT_TRY(const auto merged, formats::MergedWeights::open(*source, options.adapter, read_base));
  GRAFT_CHECK_OK(warn_of_another_base(*source, options.adapter));
  formats::ExportOptions export_options;
  export_options.type = export_type(options.dtype);
  export_options.max_shard_bytes = static_cast<int64_t>(options.max_shard_gigabytes * 1e9);
  export_options.read = [&merged](const std::string& name) { return merged.read(name); };
  return formats::export_safetensors(*source, options.output, export_options);
}

void print_json(const MergeOptions& options, const formats::ExportSummary& summary,
                const std::optional<runtime::Divergence>& divergence) {
  nlohmann::ordered_json out = {{"output", options.output},
                                {"dtype", options.dtype},
                                {"files", summary.files.size()},
                                {"weight_bytes", summary.weight_bytes}};
  if (divergence) {
    out["kl"] = {{"mean", divergence->mean},
                 {"largest", divergence->largest},
                 {"positions", divergence->positions},
                 {"same_best", divergence->same_best}};
  }
  fmt::print("{}\n", out.dump());
}

void print_text(const MergeOptions& options, const formats::ExportSummary& summary,
                const std::optional<runtime::Divergence>& divergence) {
  fmt::print("Wrote {} ({:.1f} MB of {} in {} file{})\n", options.output,
             static_cast<double>(summary.weight_bytes) / 1e6, options.dtype, summary.files.size(),
             summary.files.size() == 1 ? "" : "s");
  if (!divergence) return;
  fmt::print(
      "KL(unmerged || merged): {:.3g} nats a token on average, {:.3g} at most; the same likeliest token at {} of {} "
      "positions\n",
      divergence->mean, divergence->largest, divergence->same_best, divergence->positions);
}

Status run_merge(const MergeOptions& options) {
  ops::cpu::set_parallel_threads(options.threads);
  std::optional<std::vector<std::string>> prompts;
  if (!options.prompts.empty()) {
    GRAFT_TRY(prompts, read_prompts(options.prompts));
  }
  const std::string base_dtype = held_dtype(options);
  GRAFT_TRY(const formats::ExportSummary summary, write_merged(options, base_dtype));
  std::optional<runtime::Divergence> divergence;
  if (!options.no_kl) {
    const MergeCheck check{options.model, options.adapter, options.output, options.dtype, base_dtype, prompts};
    auto measured = check_merge(check);
    // What was written is there and whole: that nobody could be asked about it is no failure of the merge.
    if (measured.ok()) {
      divergence = *measured;
    } else {
      fmt::print(stderr, "warning: the KL was not measured: {}\n", measured.error().message);
    }
  }
  if (!base_dtype.empty() && !options.json) fmt::print("Into the base's weights as {} holds them\n", base_dtype);
  options.json ? print_json(options, summary, divergence) : print_text(options, summary, divergence);
  return {};
}

}  // namespace

void add_merge_command(CLI::App& app, int* code) {
  auto* command = app.add_subcommand(
      "merge",
      "Fold an adapter into its base model's weights: a Hugging Face directory that graft serve and transformers load. "
      "From a quantised base, into its dequantised weights");
  auto options = std::make_shared<MergeOptions>();
  command->add_option("--model", options->model, "an imported model, a Hugging Face directory or a .gguf file")
      ->required();
  command->add_option("--adapter", options->adapter, "PEFT directory: LoRA, rsLoRA or DoRA")->required();
  command->add_option("--output", options->output, "the directory to write; must not exist")->required();
  command->add_option("--dtype", options->dtype, "of the weights written; sums are float32: bfloat16, float16, float32")
      ->check(CLI::IsMember({"bfloat16", "float16", "float32"}))
      ->capture_default_str();
  command
      ->add_option(
          "--base-dtype", options->base_dtype,
          "the base's weights to fold into: source (as they came), or as an engine with int8 or int4 holds them; "
          "auto: as in the adapter's training, where its certificate says so")
      ->check(CLI::IsMember({"auto", "source", "int8", "int4"}))
      ->capture_default_str();
  command->add_option("--max-shard-size", options->max_shard_gigabytes, "split into files of at most so many GB")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--prompts", options->prompts,
                      "a text file, each line a prompt, to measure the KL on; default: the texts of the adapter's "
                      "certificate, or a few built-in ones");
  command->add_flag("--no-kl", options->no_kl, "do not run base, adapter and result to compare them");
  command->add_option("--threads", options->threads, "threads of the model; 0: all cores")->check(CLI::Range(0, 1024));
  command->add_flag("--json", options->json, "print {output, dtype, files, weight_bytes, kl}");
  command->callback([options, code] {
    const Status status = run_merge(*options);
    if (status.ok()) return;
    fmt::print(stderr, "error: {}\n", status.error().message);
    *code = 1;
  });
}

}  // namespace graft::engine
