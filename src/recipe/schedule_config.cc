#include "recipe/schedule_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <vector>

namespace graft::recipe {
namespace {

struct Key {
  const char* name;
  std::vector<std::string_view> decays;
};

const std::vector<Key>& keys() {
  static const std::vector<Key> table = {{"eta_min", {"cosine", "linear", "polynomial", "wsd"}},
                                         {"t_0", {"cosine"}},
                                         {"t_mult", {"cosine"}},
                                         {"power", {"polynomial"}},
                                         {"decay_fraction", {"wsd"}},
                                         {"decay_shape", {"wsd"}},
                                         {"decay_rate", {"exponential"}},
                                         {"decay_steps", {"exponential"}},
                                         {"staircase", {"exponential"}}};
  return table;
}

bool applies(const Key& key, const SchedulerConfig& scheduler) {
  const std::string decay = scheduler.decay.value_or("constant");
  return std::find(key.decays.begin(), key.decays.end(), decay) != key.decays.end();
}

// Values that a file from Ludwig, which writes its defaults out, may have beside any decay.
bool harmless(const std::string& name, const ConfigNode& node) {
  if (node.kind == ConfigNode::Kind::kNull) return true;
  if (node.kind != ConfigNode::Kind::kScalar) return false;
  const std::string& text = node.text;
  if (name == "eta_min") return text == "0" || text == "0.0";
  if (name == "t_mult") return text == "1";
  if (name == "staircase") return text == "false";
  return (name == "decay_rate" && text == "0.96") || (name == "decay_steps" && text == "10000");
}

}  // namespace

bool decay_has_key(const SchedulerConfig& scheduler, std::string_view key) {
  return std::any_of(keys().begin(), keys().end(),
                     [&](const Key& one) { return one.name == key && applies(one, scheduler); });
}

void check_schedule(ConfigReader& section, const TrainerConfig& trainer) {
  const SchedulerConfig& scheduler = trainer.learning_rate_scheduler;
  for (const Key& key : keys()) {
    const ConfigNode* node = section.node(key.name);
    if (node == nullptr || applies(key, scheduler) || harmless(key.name, *node)) continue;
    std::string owners;
    for (const std::string_view decay : key.decays) owners += (owners.empty() ? "" : ", ") + std::string(decay);
    section.fail(key.name, fmt::format("belongs to decay: {}; this run's decay is {}", owners,
                                       scheduler.decay.value_or("constant")));
  }
  if (scheduler.warmup_fraction > 0 && scheduler.warmup_evaluations > 0) {
    section.fail("warmup_evaluations", "give warmup_fraction or warmup_evaluations, not both");
  }
  if (scheduler.decay == "cosine" && !scheduler.t_0 && scheduler.t_mult > 1) {
    section.fail("t_mult", "needs t_0: the steps of the first cycle");
  }
  if (scheduler.eta_min > trainer.learning_rate) {
    section.fail("eta_min", fmt::format("must be at most trainer.learning_rate, {:g}", trainer.learning_rate));
  }
  if (scheduler.decay == "wsd" && scheduler.warmup_fraction + scheduler.decay_fraction > 1) {
    section.fail("decay_fraction", "warmup_fraction and decay_fraction must not be more than 1 together");
  }
}

}  // namespace graft::recipe
