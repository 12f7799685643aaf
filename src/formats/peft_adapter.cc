#include "formats/peft_adapter.h"

#include <algorithm>
#include <map>

#include "base/digest.h"
#include "base/files.h"
#include "base/json.h"
#include "base/strings.h"
#include "formats/model_sources.h"
#include "formats/safetensors_writer.h"
#include "formats/torch_file.h"

namespace graft::formats {
namespace {

constexpr std::string_view kPrefix = "base_model.model.";
constexpr std::string_view kA = ".lora_A.weight";
constexpr std::string_view kB = ".lora_B.weight";
constexpr std::string_view kMagnitude = ".lora_magnitude_vector";
constexpr std::string_view kScoreWeight = "base_model.model.score.weight";
constexpr std::string_view kScoreBias = "base_model.model.score.bias";
constexpr const char* kConfigName = "adapter_config.json";
constexpr const char* kLabelsName = "config.json";
constexpr const char* kWeightsName = "adapter_model.safetensors";
constexpr const char* kTorchName = "adapter_model.bin";

struct Factors {
  const TensorView* a = nullptr;
  const TensorView* b = nullptr;
  const TensorView* magnitude = nullptr;
};

std::string shape_text(const std::vector<int64_t>& shape) {
  std::vector<std::string> sizes;
  for (const int64_t size : shape) sizes.push_back(std::to_string(size));
  return "[" + join(sizes, ", ") + "]";
}

Error no_factor(std::string_view name) {
  const std::string tensor = "tensor '" + printable(name) + "'";
  if (name.ends_with(".base_layer.weight") || name.ends_with("embed_tokens.weight") ||
      name.ends_with("lm_head.weight")) {
    return unsupported(tensor + " holds base weights, which an adapter here cannot change; save it with " +
                       "save_pretrained(..., save_embedding_layers=False)");
  }
  return unsupported(tensor + " is no LoRA factor; only " + std::string(kPrefix) + "MODULE" + std::string(kA) +
                     " and " + std::string(kB) + ", and a DoRA's " + std::string(kMagnitude) + ", are supported");
}

// "base_model.model.MODULE.lora_A.weight" -> MODULE; empty where it has another form.
std::string_view module_of(std::string_view name, std::string_view ending) {
  if (!name.starts_with(kPrefix) || !name.ends_with(ending) || name.size() <= kPrefix.size() + ending.size()) return {};
  return name.substr(kPrefix.size(), name.size() - kPrefix.size() - ending.size());
}

Result<std::map<std::string, Factors>> factors_by_module(const WeightFile& file, const PeftConfig& config) {
  struct Kind {
    std::string_view ending;
    const TensorView* Factors::* place;
  };
  std::vector<Kind> kinds = {{kA, &Factors::a}, {kB, &Factors::b}};
  if (config.use_dora) kinds.push_back({kMagnitude, &Factors::magnitude});
  std::map<std::string, Factors> factors;
  const bool classifies = config.task != PeftTask::kCausalLm;
  for (const TensorView& tensor : file.tensors()) {
    if (classifies && (tensor.name == kScoreWeight || tensor.name == kScoreBias)) continue;
    const auto kind = std::find_if(kinds.begin(), kinds.end(),
                                   [&](const Kind& k) { return !module_of(tensor.name, k.ending).empty(); });
    if (kind == kinds.end()) return no_factor(tensor.name);
    factors[std::string(module_of(tensor.name, kind->ending))].*(kind->place) = &tensor;
  }
  return factors;
}

// Says whose adapter it is, because this is nearly always the wrong base model.
Error other_base(const PeftConfig& config, const ModelSpec& base, const std::string& what) {
  const std::string made_for =
      config.base_model_name_or_path.empty() ? "" : " ('" + printable(config.base_model_name_or_path) + "')";
  return invalid(what + "; the adapter was made for another base model" + made_for + " than this " + base.architecture +
                 " with " + std::to_string(base.num_layers) + " layers of width " + std::to_string(base.hidden_size));
}

Status check_shape(const PeftConfig& config, const ModelSpec& base, const AdapterSlot& slot, const TensorView& view,
                   const std::vector<int64_t>& expected, size_t rank_axis) {
  if (view.shape == expected) return {};
  const std::string what = "tensor '" + view.name + "' has shape " + shape_text(view.shape) + " where " +
                           shape_text(expected) + " is expected";
  const bool only_rank = view.shape.size() == 2 && view.shape[1 - rank_axis] == expected[1 - rank_axis];
  if (only_rank) return invalid(what + "; adapter_config.json says rank " + std::to_string(slot.r));
  return other_base(config, base, what);
}

Status check_finite(const TensorView& view) {
  auto values = read_weight(view);
  return values.ok() ? Status() : Status(values.error());
}

Result<AdapterModule> build_module(const PeftConfig& config, const ModelSpec& base, const AdapterSlot& slot,
                                   const Factors& factors) {
  if (factors.a == nullptr) return invalid("module '" + slot.path + "' has no lora_A factor in the file");
  if (factors.b == nullptr) return invalid("module '" + slot.path + "' has no lora_B factor in the file");
  GRAFT_CHECK_OK(check_shape(config, base, slot, *factors.a, {slot.r, slot.in}, 0));
  GRAFT_CHECK_OK(check_shape(config, base, slot, *factors.b, {slot.out, slot.r}, 1));
  GRAFT_CHECK_OK(check_finite(*factors.a));
  GRAFT_CHECK_OK(check_finite(*factors.b));
  AdapterModule module{slot, *factors.a, *factors.b, {}};
  if (!config.use_dora) return module;
  if (factors.magnitude == nullptr)
    return invalid("module '" + slot.path + "' has no lora_magnitude_vector in the file");
  GRAFT_CHECK_OK(check_shape(config, base, slot, *factors.magnitude, {slot.out}, 0));
  GRAFT_CHECK_OK(check_finite(*factors.magnitude));
  module.magnitude = *factors.magnitude;
  return module;
}

Result<std::vector<AdapterModule>> build_modules(const PeftConfig& config, const ModelSpec& base,
                                                 const WeightFile& file) {
  GRAFT_TRY(auto factors, factors_by_module(file, config));
  const std::vector<LinearModule> known = linear_modules(base);
  for (const auto& [path, unused] : factors) {
    const bool exists =
        std::any_of(known.begin(), known.end(), [&](const auto& module) { return module.path == path; });
    if (!exists) return other_base(config, base, "module '" + printable(path) + "' does not exist in the base model");
  }
  GRAFT_TRY(const std::vector<AdapterSlot> slots, adapter_slots(config, base));
  std::vector<AdapterModule> modules;
  for (const AdapterSlot& slot : slots) {
    const auto found = factors.find(slot.path);
    if (found == factors.end()) {
      return other_base(config, base, "module '" + slot.path + "' is targeted, but has no factors in the file");
    }
    GRAFT_TRY(AdapterModule module, build_module(config, base, slot, found->second));
    modules.push_back(std::move(module));
    factors.erase(found);
  }
  if (!factors.empty()) {
    return invalid("module '" + factors.begin()->first +
                   "' has factors in the file, but adapter_config.json does not target it");
  }
  return modules;
}

// The names under `id2label`, by their numbers; empty where there are none.
Result<std::vector<std::string>> read_labels(const fs::path& path, int64_t count) {
  std::vector<std::string> labels;
  for (int64_t i = 0; i < count; ++i) labels.push_back("LABEL_" + std::to_string(i));
  if (!fs::exists(path)) return labels;
  GRAFT_TRY(const std::string text, read_file(path));
  auto config = parse_json(text);
  if (!config.ok()) return at(path.string(), config.error());
  const auto names = config->is_object() ? config->find("id2label") : config->end();
  if (names == config->end() || !names->is_object()) return labels;
  for (int64_t i = 0; i < count; ++i) {
    const auto name = names->find(std::to_string(i));
    if (name == names->end() || !name->is_string() || static_cast<int64_t>(names->size()) != count) {
      return invalid(path.string() + ": key 'id2label' must name labels 0 to " + std::to_string(count - 1));
    }
    labels[static_cast<size_t>(i)] = name->get<std::string>();
  }
  return labels;
}

Result<AdapterHead> build_head(const ModelSpec& base, const WeightFile& file, const fs::path& directory) {
  const TensorView* weight = file.find(kScoreWeight);
  if (weight == nullptr)
    return invalid("tensor '" + std::string(kScoreWeight) + "', the classifier's head, is missing");
  if (weight->shape.size() != 2 || weight->shape[0] < 1 || weight->shape[1] != base.hidden_size) {
    return invalid("tensor '" + weight->name + "' has shape " + shape_text(weight->shape) + " where [labels, " +
                   std::to_string(base.hidden_size) + "] is expected");
  }
  GRAFT_CHECK_OK(check_finite(*weight));
  AdapterHead head{*weight, {}, {}};
  if (const TensorView* bias = file.find(kScoreBias)) {
    if (bias->shape != std::vector<int64_t>{weight->shape[0]}) {
      return invalid("tensor '" + bias->name + "' has shape " + shape_text(bias->shape));
    }
    GRAFT_CHECK_OK(check_finite(*bias));
    head.bias = *bias;
  }
  GRAFT_TRY(head.labels, read_labels(directory / kLabelsName, weight->shape[0]));
  return head;
}

// PEFT's own order of preference. Copies: whoever owns the folder may rewrite it while a server reads.
Result<std::unique_ptr<WeightFile>> open_weights(const fs::path& directory) {
  if (fs::exists(directory / kWeightsName)) return open_safetensors(directory / kWeightsName, FileAccess::kCopy);
  if (fs::exists(directory / kTorchName)) return open_torch(directory / kTorchName, FileAccess::kCopy);
  return not_found(directory.string() + ": no adapter_model.safetensors, nor adapter_model.bin");
}

}  // namespace

Result<PeftAdapter> PeftAdapter::open(const std::filesystem::path& directory, const ModelSpec& base,
                                      const PeftOpenOptions& options) {
  const auto config_path = directory / kConfigName;
  if (!fs::exists(config_path)) return not_found(directory.string() + ": no adapter_config.json; not a PEFT adapter");
  GRAFT_TRY(const std::string text, read_file(config_path));
  auto config = parse_peft_config(text);
  if (!config.ok()) return at(config_path.string(), config.error());
  if (config->use_dora && !options.dora) {
    return unsupported(config_path.string() + ": key 'use_dora' is set, and DoRA cannot be applied here");
  }
  if (config->task != PeftTask::kCausalLm && !options.head) {
    return unsupported(config_path.string() + ": a classifier's head cannot be applied here");
  }
  GRAFT_TRY(std::unique_ptr<WeightFile> file, open_weights(directory));
  PeftAdapter adapter(std::move(config).value(), std::move(file));
  auto modules = build_modules(adapter.config_, base, *adapter.file_);
  if (!modules.ok()) return at(directory.string(), modules.error());
  adapter.modules_ = std::move(modules).value();
  if (adapter.config_.task != PeftTask::kCausalLm) {
    auto head = build_head(base, *adapter.file_, directory);
    if (!head.ok()) return at(directory.string(), head.error());
    adapter.head_ = std::move(head).value();
  }
  Sha256 digest;
  digest.update(text);
  digest.update(adapter.file_->bytes());
  adapter.digest_ = digest.hex();
  return adapter;
}

std::vector<TensorView> PeftAdapter::tensors() const {
  std::vector<TensorView> views;
  const auto add = [&](const std::string& path, std::string_view ending, TensorView view) {
    view.name = std::string(kPrefix) + path + std::string(ending);
    views.push_back(std::move(view));
  };
  for (const AdapterModule& module : modules_) {
    add(module.slot.path, kA, module.a);
    add(module.slot.path, kB, module.b);
    if (module.magnitude) add(module.slot.path, kMagnitude, *module.magnitude);
  }
  std::sort(views.begin(), views.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return views;
}

namespace {

Status check_factors(const AdapterFactors& factors, bool dora) {
  const int64_t magnitudes = dora ? factors.out : 0;
  if (static_cast<int64_t>(factors.magnitude.size()) == magnitudes &&
      static_cast<int64_t>(factors.a.size()) == factors.r * factors.in &&
      static_cast<int64_t>(factors.b.size()) == factors.out * factors.r) {
    return {};
  }
  return internal_error("module '" + factors.path + "': its factors are not of the declared shape");
}

}  // namespace

Status write_labels(const fs::path& path, const std::vector<std::string>& labels) {
  nlohmann::ordered_json names = nlohmann::ordered_json::object();
  for (size_t i = 0; i < labels.size(); ++i) names[std::to_string(i)] = labels[i];
  return write_file_atomic(path, nlohmann::ordered_json{{"id2label", std::move(names)}}.dump(2) + "\n");
}

Status write_peft_files(const std::filesystem::path& directory, const PeftConfig& config,
                        std::span<const AdapterFactors> factors, const HeadFactors* head) {
  std::vector<TensorView> tensors;
  for (const AdapterFactors& module : factors) {
    GRAFT_CHECK_OK(check_factors(module, config.use_dora));
    const std::string name = std::string(kPrefix) + module.path;
    tensors.push_back({name + std::string(kA), DType::kF32, {module.r, module.in}, std::as_bytes(module.a)});
    tensors.push_back({name + std::string(kB), DType::kF32, {module.out, module.r}, std::as_bytes(module.b)});
    if (config.use_dora) {
      tensors.push_back({name + std::string(kMagnitude), DType::kF32, {module.out}, std::as_bytes(module.magnitude)});
    }
  }
  if (head != nullptr) {
    const auto labels = static_cast<int64_t>(head->labels.size());
    const int64_t width = labels == 0 ? 0 : static_cast<int64_t>(head->weight.size()) / labels;
    tensors.push_back({std::string(kScoreWeight), DType::kF32, {labels, width}, std::as_bytes(head->weight)});
    if (!head->bias.empty()) {
      tensors.push_back({std::string(kScoreBias), DType::kF32, {labels}, std::as_bytes(head->bias)});
    }
    GRAFT_CHECK_OK(write_labels(directory / kLabelsName, head->labels));
  }
  std::sort(tensors.begin(), tensors.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  GRAFT_CHECK_OK(write_safetensors(directory / kWeightsName, tensors, {.metadata = {{"format", "pt"}}}));
  return write_file_atomic(directory / kConfigName, peft_config_json(config));
}

Status write_peft_adapter(const std::filesystem::path& destination, const PeftConfig& config,
                          std::span<const AdapterFactors> factors) {
  GRAFT_TRY(AtomicDirectory made, AtomicDirectory::create(destination));
  GRAFT_CHECK_OK(write_peft_files(made.path(), config, factors));
  return made.replace();
}

}  // namespace graft::formats
