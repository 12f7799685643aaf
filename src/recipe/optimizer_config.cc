#include "recipe/optimizer_config.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/strings.h"

namespace graft::recipe {
namespace {

struct Key {
  const char* name;
  bool (*given)(const OptimizerConfig&);
};

#define GRAFT_KEY(member)                                                  \
  Key {                                                                    \
    #member, [](const OptimizerConfig& c) { return c.member.has_value(); } \
  }
const std::vector<Key>& keys() {
  static const std::vector<Key> table = {
      GRAFT_KEY(betas),      GRAFT_KEY(eps),      GRAFT_KEY(weight_decay), GRAFT_KEY(momentum),
      GRAFT_KEY(dampening),  GRAFT_KEY(nesterov), GRAFT_KEY(beta1),        GRAFT_KEY(clip_threshold),
      GRAFT_KEY(decay_rate), GRAFT_KEY(ns_steps), GRAFT_KEY(adjust_lr_fn)};
  return table;
}
#undef GRAFT_KEY

template <class T, class V>
void fill(std::optional<T>& field, const V& value) {
  if (!field) field = value;
}

void fill_adamw(OptimizerConfig& c) {
  fill(c.betas, std::vector<double>{0.9, 0.999});
  fill(c.eps, 1e-8);
  fill(c.weight_decay, 0.0);
}

void fill_lion(OptimizerConfig& c) {
  fill(c.betas, std::vector<double>{0.9, 0.99});
  fill(c.weight_decay, 0.0);
}

void fill_adafactor(OptimizerConfig& c) {
  fill(c.eps, 1e-30);
  fill(c.clip_threshold, 1.0);
  fill(c.decay_rate, -0.8);
  fill(c.weight_decay, 0.0);
}

void fill_muon(OptimizerConfig& c) {
  fill(c.momentum, 0.95);
  fill(c.nesterov, true);
  fill(c.weight_decay, 0.1);
  fill(c.ns_steps, 5);
  fill(c.eps, 1e-7);
  fill(c.adjust_lr_fn, "original");
}

void fill_sgd(OptimizerConfig& c) {
  fill(c.momentum, 0.0);
  fill(c.dampening, 0.0);
  fill(c.nesterov, false);
  fill(c.weight_decay, 0.0);
}

struct Type {
  std::string name;
  std::vector<std::string> keys;
  void (*fill)(OptimizerConfig&);
};

const std::vector<Type>& types() {
  static const std::vector<Type> table = {
      {"adamw", {"betas", "eps", "weight_decay"}, fill_adamw},
      {"adam", {"betas", "eps", "weight_decay"}, fill_adamw},
      {"adamw_8bit", {"betas", "eps", "weight_decay"}, fill_adamw},
      {"lion", {"betas", "weight_decay"}, fill_lion},
      {"adafactor", {"eps", "clip_threshold", "decay_rate", "beta1", "weight_decay"}, fill_adafactor},
      {"muon", {"momentum", "nesterov", "weight_decay", "ns_steps", "eps", "adjust_lr_fn"}, fill_muon},
      {"sgd", {"momentum", "dampening", "nesterov", "weight_decay"}, fill_sgd}};
  return table;
}

bool has(const Type& type, std::string_view key) {
  return std::find(type.keys.begin(), type.keys.end(), key) != type.keys.end();
}

const Type* find_type(std::string_view name) {
  const auto found = std::find_if(types().begin(), types().end(), [&](const Type& type) { return type.name == name; });
  return found == types().end() ? nullptr : &*found;
}

std::string not_a_key(const Type& type, const std::string& key) {
  std::vector<std::string> owners;
  for (const Type& other : types()) {
    if (has(other, key)) owners.push_back(other.name);
  }
  const auto near = did_you_mean(key, type.keys);
  return fmt::format("{} has no such key{}; its keys are {} ({} belongs to {})", type.name,
                     near ? "; did you mean " + *near + "?" : std::string(), fmt::join(type.keys, ", "), key,
                     fmt::join(owners, ", "));
}

void check(ConfigReader& section, const OptimizerConfig& c) {
  if (c.betas && c.betas->size() != 2) section.fail("betas", "expected two numbers");
  if (c.type == "adam" && c.weight_decay.value_or(0) > 0) {
    section.fail("weight_decay", "adam's own kind of weight decay is not supported: use adamw");
  }
  if (c.type == "sgd" && c.nesterov.value_or(false) && (c.momentum.value_or(0) <= 0 || c.dampening.value_or(0) != 0)) {
    section.fail("nesterov", "needs a momentum above 0 and a dampening of 0");
  }
}

}  // namespace

bool optimizer_has_key(std::string_view type, std::string_view key) {
  const Type* found = find_type(type);
  return found != nullptr && has(*found, key);
}

void resolve_optimizer(ConfigReader& section, OptimizerConfig& optimizer) {
  const Type* type = find_type(optimizer.type);
  if (type == nullptr) return;  // the reader has refused it
  for (const Key& key : keys()) {
    if (key.given(optimizer) && !has(*type, key.name)) section.fail(key.name, not_a_key(*type, key.name));
  }
  type->fill(optimizer);
  check(section, optimizer);
}

int64_t optimizer_bytes(const TrainerConfig& trainer) {
  constexpr int64_t kFloat = 4;
  const OptimizerConfig& c = trainer.optimizer;
  int64_t bytes = 2 * kFloat;  // adamw, adam
  if (c.type == "adamw_8bit") bytes = 2;
  if (c.type == "lion" || c.type == "muon") bytes = kFloat;
  if (c.type == "sgd") bytes = c.momentum.value_or(0) > 0 ? kFloat : 0;
  if (c.type == "adafactor") bytes = c.beta1 ? kFloat : 0;  // rows and columns of the second moment are next to nothing
  return bytes + (trainer.ema_decay > 0 ? kFloat : 0);
}

}  // namespace graft::recipe
