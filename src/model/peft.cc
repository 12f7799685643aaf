#include "model/peft.h"

#include <fmt/format.h>

#include <charconv>
#include <map>

#include "formats/dequantise.h"
#include "model/dora.h"

namespace graft::model {

namespace {

constexpr std::string_view kPrefix = "model.layers.";

Result<AdapterTarget> target_of(const formats::AdapterSlot& slot) {
  const std::string_view path = slot.path;
  int64_t layer = 0;
  if (path.starts_with(kPrefix)) {
    const char* first = path.data() + kPrefix.size();
    const char* last = path.data() + path.size();
    const auto [end, error] = std::from_chars(first, last, layer);
    if (error == std::errc() && end != last && *end == '.') {
      const auto projection = projection_from_name(std::string_view(end + 1, static_cast<size_t>(last - end - 1)));
      if (projection) return AdapterTarget{layer, *projection, slot.r, static_cast<float>(slot.scale)};
    }
  }
  return unsupported(fmt::format(
      "target module {}: adapters act on the seven projections of a decoder layer only; leave it out of target_modules",
      slot.path));
}

// [rows, columns] -> [columns, rows]
void transpose(const float* from, int64_t rows, int64_t columns, float* to) {
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; ++j) to[j * rows + i] = from[i * columns + j];
  }
}

}  // namespace

Result<std::vector<AdapterTarget>> adapter_targets(const std::vector<formats::AdapterSlot>& slots) {
  std::vector<AdapterTarget> targets;
  for (const formats::AdapterSlot& slot : slots) {
    GRAFT_TRY(const AdapterTarget target, target_of(slot));
    targets.push_back(target);
  }
  return targets;
}

Result<Adapter> adapter_from_peft(const formats::PeftAdapter& files, const formats::ModelSpec& spec,
                                  const Weights& weights, bool trainable, int64_t extra) {
  std::vector<formats::AdapterSlot> slots;
  std::map<std::string, const formats::AdapterModule*> modules;
  for (const formats::AdapterModule& module : files.modules()) {
    slots.push_back(module.slot);
    modules[module.slot.path] = &module;
  }
  GRAFT_TRY(std::vector<AdapterTarget> targets, adapter_targets(slots));
  const AdapterKind kind = files.config().use_dora ? AdapterKind::kDora : AdapterKind::kLora;
  Adapter adapter(spec, std::move(targets), weights.dtype, trainable, kind, extra);
  std::vector<float> b;
  for (size_t i = 0; i < adapter.targets().size(); ++i) {
    const AdapterTarget& target = adapter.targets()[i];
    const formats::AdapterModule& module = *modules.at(module_path(target.layer, target.projection));
    GRAFT_CHECK_OK(formats::to_float32(module.a, adapter.a(i)));
    b.resize(static_cast<size_t>(module.slot.out * module.slot.r));
    GRAFT_CHECK_OK(formats::to_float32(module.b, b));
    transpose(b.data(), module.slot.out, module.slot.r, adapter.b_transposed(i).data());
    if (module.magnitude) GRAFT_CHECK_OK(formats::to_float32(*module.magnitude, adapter.magnitude(i)));
  }
  refresh_norms(adapter, weights);
  adapter.repack();
  if (!trainable) adapter.drop_masters();
  return adapter;
}

Status write_peft(const std::filesystem::path& directory, const formats::PeftConfig& config,
                  const formats::ModelSpec& spec, Adapter& adapter, const formats::HeadFactors* head) {
  const std::vector<AdapterTarget>& targets = adapter.targets();
  std::vector<std::vector<float>> b(targets.size());
  std::vector<formats::AdapterFactors> factors;
  for (size_t i = 0; i < targets.size(); ++i) {
    formats::AdapterFactors f;
    f.path = module_path(targets[i].layer, targets[i].projection);
    f.r = targets[i].rank;
    f.in = in_features(spec, targets[i].projection);
    f.out = out_features(spec, targets[i].projection);
    b[i].resize(static_cast<size_t>(f.r * f.out));
    transpose(adapter.b_transposed(i).data(), f.r, f.out, b[i].data());
    f.a = adapter.a(i);
    f.b = b[i];
    f.magnitude = adapter.magnitude(i);
    factors.push_back(f);
  }
  return formats::write_peft_files(directory, config, factors, head);
}

}  // namespace graft::model
