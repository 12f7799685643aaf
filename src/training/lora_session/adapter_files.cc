#include "training/lora_session/adapter_files.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <cstring>
#include <filesystem>

#include "base/philox.h"
#include "formats/safetensors.h"
#include "formats/safetensors_writer.h"
#include "model/peft.h"

namespace graft::training {

namespace {

constexpr const char* kStateFile = "optimizer.safetensors";

// PEFT's kaiming_uniform(a = sqrt 5): uniform between -1/sqrt(in) and 1/sqrt(in). One stream for every target.
void initialise(model::Adapter& adapter, const formats::ModelSpec& spec, uint64_t seed) {
  for (size_t i = 0; i < adapter.targets().size(); ++i) {
    const auto in = static_cast<double>(model::in_features(spec, adapter.targets()[i].projection));
    const auto bound = static_cast<float>(1.0 / std::sqrt(in));
    PhiloxStream random(seed, i);
    for (float& value : adapter.a(i)) value = (2.0F * random.next_float() - 1.0F) * bound;
  }
}

bool same_targets(const std::vector<model::AdapterTarget>& x, const std::vector<model::AdapterTarget>& y) {
  return std::equal(x.begin(), x.end(), y.begin(), y.end(), [](const auto& a, const auto& b) {
    return a.layer == b.layer && a.projection == b.projection && a.rank == b.rank && a.scale == b.scale;
  });
}

std::span<const std::byte> bytes_of(const at::Tensor& tensor) {
  return {static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()};
}

}  // namespace

Result<model::Adapter> new_adapter(const LoraSettings& settings, const formats::ModelSpec& spec, at::ScalarType dtype) {
  GRAFT_TRY(const auto slots, formats::adapter_slots(settings.peft, spec));
  GRAFT_TRY(const auto targets, model::adapter_targets(slots));
  model::Adapter fresh(spec, targets, dtype, true);
  if (settings.pretrained.empty()) {
    initialise(fresh, spec, settings.seed);
    return fresh;
  }
  GRAFT_TRY(const auto files, formats::PeftAdapter::open(settings.pretrained, spec));
  GRAFT_TRY(model::Adapter adapter, model::adapter_from_peft(files, spec, dtype, true));
  if (!same_targets(adapter.targets(), fresh.targets())) {
    return invalid(
        fmt::format("{}: its rank, alpha or target modules are not those of the configuration: set adapter.r, "
                    "adapter.alpha and adapter.target_modules to its own",
                    settings.pretrained));
  }
  return adapter;
}

Status save_optimizer_state(const std::string& directory, const OptimizerState& state) {
  const auto view = [](const char* name, const at::Tensor& tensor) {
    return formats::TensorView{name, formats::DType::kF32, {tensor.numel()}, bytes_of(tensor)};
  };
  const std::vector<formats::TensorView> tensors = {view("parameters", state.masters), view("exp_avg", state.exp_avg),
                                                    view("exp_avg_sq", state.exp_avg_sq)};
  formats::SafetensorsWriterOptions options;
  options.metadata = {{"step", std::to_string(state.step)}};
  return formats::write_safetensors(std::filesystem::path(directory) / kStateFile, tensors, options);
}

Result<int64_t> load_optimizer_state(const std::string& directory, const OptimizerState& state) {
  const auto path = std::filesystem::path(directory) / kStateFile;
  GRAFT_TRY(const auto file, formats::SafetensorsFile::open(path));
  const auto read = [&](const char* name, const at::Tensor& to) -> Status {
    const formats::TensorView* view = file.find(name);
    if (view == nullptr || view->dtype != formats::DType::kF32 || view->elements() != to.numel()) {
      return invalid(fmt::format("{}: {} is missing or of another size: the checkpoint is of another adapter",
                                 path.string(), name));
    }
    std::memcpy(to.mutable_data_ptr(), view->data.data(), view->data.size());
    return {};
  };
  GRAFT_CHECK_OK(read("parameters", state.masters));
  GRAFT_CHECK_OK(read("exp_avg", state.exp_avg));
  GRAFT_CHECK_OK(read("exp_avg_sq", state.exp_avg_sq));
  const auto step = file.metadata().find("step");
  int64_t value = -1;
  if (step != file.metadata().end()) {
    std::from_chars(step->second.data(), step->second.data() + step->second.size(), value);
  }
  if (value < 0) return invalid(fmt::format("{}: no step count: the checkpoint is damaged", path.string()));
  return value;
}

}  // namespace graft::training
