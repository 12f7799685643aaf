#include <algorithm>
#include <cmath>
#include <optional>
#include <set>

#include "base/strings.h"
#include "formats/pattern.h"
#include "formats/peft_config.h"

// Which modules PEFT's settings select; the rules are those of its check_target_module_exists and get_pattern_key.
namespace graft::formats {
namespace {

bool ends_with_module(const std::string& path, const std::string& name) {
  return path == name ||
         (path.size() > name.size() && path.ends_with(name) && path[path.size() - name.size() - 1] == '.');
}

// PeftModules, compiled.
class Selector {
 public:
  static Result<Selector> make(const PeftModules& modules, const std::string& key) {
    Selector selector(modules);
    if (modules.kind != PeftModules::Kind::kRegex) return selector;
    auto pattern = Pattern::compile(modules.regex);
    if (!pattern.ok()) return at("key '" + key + "'", pattern.error());
    selector.pattern_ = std::move(pattern).value();
    return selector;
  }

  Result<bool> selects(const std::string& path) {
    if (modules_->kind == PeftModules::Kind::kAllLinear) return path != "lm_head";
    if (modules_->kind == PeftModules::Kind::kRegex) return pattern_->full_match(path);
    bool selected = false;
    for (const std::string& name : modules_->names) {
      if (!ends_with_module(path, name)) continue;
      selected = true;
      used_.insert(name);
    }
    return selected;
  }

  [[nodiscard]] bool names_whole_path(const std::string& path) const {
    return modules_->kind == PeftModules::Kind::kNames &&
           std::find(modules_->names.begin(), modules_->names.end(), path) != modules_->names.end();
  }

  // " 'EXPRESSION'" where it is one: for messages.
  [[nodiscard]] std::string shown() const {
    return modules_->kind == PeftModules::Kind::kRegex ? " '" + printable(modules_->regex, 80) + "'" : "";
  }

  // A name that has selected nothing, if there is one.
  [[nodiscard]] std::optional<std::string> unused() const {
    for (const std::string& name : modules_->names) {
      if (used_.find(name) == used_.end()) return name;
    }
    return std::nullopt;
  }

 private:
  explicit Selector(const PeftModules& modules) : modules_(&modules) {}

  const PeftModules* modules_;
  std::optional<Pattern> pattern_;
  std::set<std::string> used_;
};

// "(.*\.)?(KEY)$" for each key; the first that matches decides.
template <class T>
class Overrides {
 public:
  static Result<Overrides> make(const std::vector<std::pair<std::string, T>>& entries, const std::string& key) {
    Overrides overrides;
    for (const auto& [expression, value] : entries) {
      auto pattern = Pattern::compile("(?:.*\\.)?(?:" + expression + ")");
      if (!pattern.ok()) return at("key '" + key + "'", pattern.error());
      overrides.entries_.emplace_back(std::move(pattern).value(), value);
    }
    return overrides;
  }

  [[nodiscard]] Result<T> value(const std::string& path, T otherwise) const {
    for (const auto& [pattern, value] : entries_) {
      GRAFT_TRY(const bool matches, pattern.full_match(path));
      if (matches) return value;
    }
    return otherwise;
  }

 private:
  std::vector<std::pair<Pattern, T>> entries_;
};

// layers_to_transform: the number in "model.layers.NUMBER.", or whatever the family calls its layers. PEFT applies it
// to lists of names only.
Result<bool> in_chosen_layer(const PeftConfig& config, const std::string& prefix, const std::string& path) {
  if (config.layers_to_transform.empty()) return true;
  if (!path.starts_with(prefix)) return false;
  std::string list = prefix.substr(0, prefix.size() - 1);  // "model.layers"
  list = list.substr(list.rfind('.') + 1);
  if (!config.layers_pattern.empty() &&
      std::find(config.layers_pattern.begin(), config.layers_pattern.end(), list) == config.layers_pattern.end()) {
    return unsupported("layers_pattern '" + printable(config.layers_pattern.front()) +
                       "' names no module list of this model; it is '" + list + "'");
  }
  const int64_t layer = std::stoll(path.substr(prefix.size()));  // digits: the path comes from linear_modules()
  return std::find(config.layers_to_transform.begin(), config.layers_to_transform.end(), layer) !=
         config.layers_to_transform.end();
}

std::vector<std::string> last_parts(const std::vector<LinearModule>& modules) {
  std::set<std::string> names;
  for (const LinearModule& module : modules) names.insert(module.path.substr(module.path.rfind('.') + 1));
  return {names.begin(), names.end()};
}

Status check_targets_found(const Selector& targets, const std::vector<LinearModule>& modules, bool any) {
  if (const auto name = targets.unused()) {
    if (ends_with_module("model.embed_tokens", *name))
      return unsupported("key 'target_modules': adapters on the embedding are not supported");
    return invalid("key 'target_modules': '" + printable(*name) + "' is no linear layer of this model" +
                   suggestion(*name, last_parts(modules)));
  }
  if (!any) return invalid("key 'target_modules'" + targets.shown() + " selects no linear layer of this model");
  return {};
}

}  // namespace

Result<std::vector<AdapterSlot>> adapter_slots(const PeftConfig& config, const ModelSpec& spec) {
  GRAFT_TRY(Selector targets, Selector::make(config.target_modules, "target_modules"));
  GRAFT_TRY(Selector excluded, Selector::make(config.exclude_modules, "exclude_modules"));
  GRAFT_TRY(const auto ranks, Overrides<int64_t>::make(config.rank_pattern, "rank_pattern"));
  GRAFT_TRY(const auto alphas, Overrides<double>::make(config.alpha_pattern, "alpha_pattern"));
  const std::vector<LinearModule> modules = linear_modules(spec);
  std::vector<AdapterSlot> slots;
  for (const LinearModule& module : modules) {
    GRAFT_TRY(const bool selected, targets.selects(module.path));
    GRAFT_TRY(const bool exclude, excluded.selects(module.path));
    if (!selected || exclude) continue;
    if (config.target_modules.kind == PeftModules::Kind::kNames && !targets.names_whole_path(module.path)) {
      GRAFT_TRY(const bool chosen, in_chosen_layer(config, layer_prefix(spec), module.path));
      if (!chosen) continue;
    }
    GRAFT_TRY(const int64_t r, ranks.value(module.path, config.r));
    GRAFT_TRY(const double alpha, alphas.value(module.path, config.lora_alpha));
    const auto rank = static_cast<double>(r);
    slots.push_back({module.path, module.in, module.out, r, alpha / (config.use_rslora ? std::sqrt(rank) : rank)});
  }
  GRAFT_CHECK_OK(check_targets_found(targets, modules, !slots.empty()));
  return slots;
}

}  // namespace graft::formats
