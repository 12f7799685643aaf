#include "training/lora_session/adapter_files.h"

#include <fmt/format.h>

#include <cmath>

#include "base/philox.h"
#include "model/dora.h"
#include "model/peft.h"
#include "ops/cpu/parallel.h"

namespace graft::training {

namespace {

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

}  // namespace

Result<model::Adapter> new_adapter(const LoraSettings& settings, const formats::ModelSpec& spec,
                                   const model::Weights& weights) {
  GRAFT_TRY(const auto slots, formats::adapter_slots(settings.peft, spec));
  GRAFT_TRY(const auto targets, model::adapter_targets(slots));
  const auto kind = settings.peft.use_dora ? model::AdapterKind::kDora : model::AdapterKind::kLora;
  model::Adapter fresh(spec, targets, weights.dtype, true, kind);
  if (settings.pretrained.empty()) {
    initialise(fresh, spec, settings.seed);
    model::initialise_magnitudes(fresh, weights);
    return fresh;
  }
  GRAFT_TRY(const auto files, formats::PeftAdapter::open(settings.pretrained, spec, {.dora = true}));
  GRAFT_TRY(model::Adapter adapter, model::adapter_from_peft(files, spec, weights, true));
  if (!same_targets(adapter.targets(), fresh.targets()) || adapter.kind() != kind) {
    return invalid(
        fmt::format("{}: its rank, alpha, target modules or DoRA are not those of the configuration: set adapter.r, "
                    "adapter.alpha, adapter.target_modules and adapter.use_dora to its own",
                    settings.pretrained));
  }
  return adapter;
}

Result<Updater> make_updater(model::Adapter& adapter, const formats::ModelSpec& spec, const LoraSettings& settings) {
  auto* const masters = adapter.masters().mutable_data_ptr<float>();
  std::vector<ParameterBlock> blocks;
  for (size_t i = 0; i < adapter.targets().size(); ++i) {
    const model::AdapterTarget& target = adapter.targets()[i];
    const std::string path = model::module_path(target.layer, target.projection);
    ParameterBlock block;
    block.rows = target.rank;
    block.name = path + ".lora_A";
    block.offset = adapter.a(i).data() - masters;
    block.columns = model::in_features(spec, target.projection);
    blocks.push_back(block);
    block.name = path + ".lora_B";
    block.offset = adapter.b_transposed(i).data() - masters;
    block.columns = model::out_features(spec, target.projection);
    block.transposed = true;
    blocks.push_back(block);
    if (adapter.kind() != model::AdapterKind::kDora) continue;
    block.name = path + ".lora_magnitude_vector";
    block.offset = adapter.magnitude(i).data() - masters;
    block.rows = 1;
    block.matrix = false;
    block.transposed = false;
    blocks.push_back(block);
  }
  const auto n = static_cast<size_t>(adapter.masters().numel());
  const RunTasks run = [](int64_t count, const std::function<void(int64_t)>& task) {
    ops::cpu::parallel_for(count, task);
  };
  return Updater::create(settings.optimization, std::move(blocks), {masters, n},
                         {adapter.gradients().mutable_data_ptr<float>(), n}, run);
}

}  // namespace graft::training
