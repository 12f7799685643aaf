#include "training/lora_session/adapter_files.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "base/philox.h"
#include "formats/dequantise.h"
#include "model/dora.h"
#include "model/peft.h"
#include "ops/cpu/parallel.h"
#include "training/lora_session/classifier_head.h"
#include "training/lora_session/pissa.h"

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

// What of an adapter that a run starts from is not as the configuration says; empty where all is.
std::string difference(const model::Adapter& theirs, const model::Adapter& ours) {
  if (theirs.kind() != ours.kind()) {
    const bool dora = theirs.kind() == model::AdapterKind::kDora;
    return fmt::format("it is {}: set adapter.use_dora to {}", dora ? "a DoRA" : "no DoRA", dora);
  }
  const auto& x = theirs.targets();
  const auto& y = ours.targets();
  const auto name = [](const model::AdapterTarget& t) { return model::module_path(t.layer, t.projection); };
  for (size_t i = 0; i < std::max(x.size(), y.size()); ++i) {
    const bool extra =
        i >= y.size() || (i < x.size() && name(x[i]) != name(y[i]) &&
                          std::none_of(y.begin(), y.end(), [&](auto& t) { return name(t) == name(x[i]); }));
    if (i >= x.size() || i >= y.size() || name(x[i]) != name(y[i])) {
      return fmt::format("{} {}, which the configuration {}: set adapter.target_modules to its own",
                         extra ? "it adapts" : "it does not adapt", name(extra ? x[i] : y[i]),
                         extra ? "does not target" : "targets");
    }
    if (x[i].rank != y[i].rank) {
      return fmt::format(
          "its rank for {} is {}, the configuration's {}: set adapter.r (or adapter.rank_pattern) to its own",
          name(x[i]), x[i].rank, y[i].rank);
    }
    if (x[i].scale != y[i].scale) {
      return fmt::format(
          "its scale (alpha / r) for {} is {:g}, the configuration's {:g}: set adapter.alpha and "
          "adapter.use_rslora to its own",
          name(x[i]), x[i].scale, y[i].scale);
    }
  }
  return "";
}

// A classifier goes on with its head; one that starts from another adapter gets a new one.
Status take_head(const formats::PeftAdapter& files, const SessionSettings& settings, model::Adapter& adapter) {
  if (!files.head()) {
    if (!settings.labels.empty()) initialise_head(adapter.extra(), settings.seed);
    return {};
  }
  if (settings.labels.empty() || files.config().task != formats::PeftTask::kSequenceClassification) {
    return invalid(
        fmt::format("{}: it is a classifier with a head on its hidden states: train it with an output feature of type "
                    "category, of whole texts",
                    settings.pretrained));
  }
  if (files.head()->labels != settings.labels || files.head()->bias) {
    return invalid(fmt::format("{}: it was trained to tell apart {}, the data's labels are {}", settings.pretrained,
                               fmt::join(files.head()->labels, ", "), fmt::join(settings.labels, ", ")));
  }
  return formats::to_float32(files.head()->weight, adapter.extra());
}

Result<model::Adapter> pretrained_adapter(const SessionSettings& settings, const formats::ModelSpec& spec,
                                          const model::Weights& weights, const model::Adapter& fresh) {
  GRAFT_TRY(const auto files, formats::PeftAdapter::open(settings.pretrained, spec, {.dora = true, .head = true}));
  GRAFT_TRY(model::Adapter adapter,
            model::adapter_from_peft(files, spec, weights, true, head_parameters(settings, spec)));
  if (const std::string other = difference(adapter, fresh); !other.empty()) {
    return invalid(fmt::format("{}: {}", settings.pretrained, other));
  }
  GRAFT_CHECK_OK(take_head(files, settings, adapter));
  return adapter;
}

}  // namespace

int64_t head_parameters(const SessionSettings& settings, const formats::ModelSpec& spec) {
  return static_cast<int64_t>(settings.labels.size()) * spec.hidden_size;
}

Result<model::Adapter> new_adapter(const SessionSettings& settings, const formats::ModelSpec& spec,
                                   const model::Weights& weights) {
  GRAFT_TRY(const auto slots, formats::adapter_slots(settings.peft, spec));
  GRAFT_TRY(const auto targets, model::adapter_targets(slots));
  const auto kind = settings.peft.use_dora ? model::AdapterKind::kDora : model::AdapterKind::kLora;
  model::Adapter fresh(spec, targets, weights.dtype, true, kind, head_parameters(settings, spec));
  if (!settings.pretrained.empty()) return pretrained_adapter(settings, spec, weights, fresh);
  if (settings.pissa) {
    GRAFT_CHECK_OK(initialise_pissa(fresh, weights, *settings.pissa, settings.seed));
  } else {
    initialise(fresh, spec, settings.seed);
  }
  model::initialise_magnitudes(fresh, weights);
  initialise_head(fresh.extra(), settings.seed);
  return fresh;
}

Result<Updater> make_updater(model::Adapter& adapter, const formats::ModelSpec& spec, const SessionSettings& settings) {
  auto* const masters = adapter.masters().mutable_data_ptr<float>();
  std::vector<ParameterBlock> blocks;
  for (size_t i = 0; i < adapter.targets().size(); ++i) {
    const model::AdapterTarget& target = adapter.targets()[i];
    const std::string path = model::module_path(target.layer, target.projection);
    ParameterBlock block;
    block.rows = settings.pissa ? target.rank / 2 : target.rank;
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
  if (!settings.labels.empty()) {
    blocks.push_back({.name = "score",
                      .offset = adapter.extra().data() - masters,
                      .rows = static_cast<int64_t>(settings.labels.size()),
                      .columns = spec.hidden_size});
  }
  const auto n = static_cast<size_t>(adapter.masters().numel());
  const RunTasks run = [](int64_t count, const std::function<void(int64_t)>& task) {
    ops::cpu::parallel_for(count, task);
  };
  return Updater::create(settings.optimization, std::move(blocks), {masters, n},
                         {adapter.gradients().mutable_data_ptr<float>(), n}, run);
}

}  // namespace graft::training
