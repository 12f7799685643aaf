#include "training/job_description.h"

#include <fmt/format.h>

#include "base/json.h"

namespace graft::training {
namespace {

// Where a run finds its data and its model is not part of what it computes: their digests are. Nor is where it is
// recorded.
constexpr std::initializer_list<const char*> kMayDiffer = {"config.dataset", "config.base_model", "config.logging"};

bool may_differ(const std::string& key) {
  return std::find(kMayDiffer.begin(), kMayDiffer.end(), key) != kMayDiffer.end();
}

Error difference(const std::string& key, const nlohmann::json& before, const nlohmann::json& now) {
  return invalid(
      fmt::format("the run was started with {} = {}, not {}: resume it with the settings it was started with, or start "
                  "a new one in "
                  "another --output",
                  key.starts_with("config.") ? key.substr(7) : key, before.dump(), now.dump()));
}

Status check_same(const std::string& key, const nlohmann::json& before, const nlohmann::json& now) {
  if (may_differ(key) || before == now) return {};
  if (!before.is_object() || !now.is_object()) return difference(key, before, now);
  for (const auto& [name, value] : now.items()) {
    GRAFT_CHECK_OK(check_same(key + "." + name, before.value(name, nlohmann::json()), value));
  }
  for (const auto& [name, value] : before.items()) {
    if (!now.contains(name)) GRAFT_CHECK_OK(check_same(key + "." + name, value, nullptr));
  }
  return {};
}

}  // namespace

nlohmann::json to_json(const JobDescription& job) {
  return {
      {"version", 1},
      {"kind", "train"},
      {"config", job.config},
      {"base_model", job.base_model},
      {"base_digest", job.base_digest},
      {"dataset", job.dataset},
      {"dataset_sha256", job.dataset_sha256},
      {"environment",
       {{"build", job.environment.build}, {"isa", job.environment.isa}, {"threads", job.environment.threads}}},
  };
}

Status check_same_job(const nlohmann::json& before, const nlohmann::json& now) {
  for (const char* key : {"version", "kind", "config", "base_digest", "dataset_sha256"}) {
    GRAFT_CHECK_OK(check_same(key, before.value(key, nlohmann::json()), now.value(key, nlohmann::json())));
  }
  return {};
}

nlohmann::json config_to_json(const ConfigNode& node) {
  switch (node.kind) {
    case ConfigNode::Kind::kNull:
      return nullptr;
    case ConfigNode::Kind::kScalar: {
      if (node.quoted) return node.text;
      auto parsed = parse_json(node.text);
      const bool plain = parsed.ok() && (parsed->is_number() || parsed->is_boolean() || parsed->is_null());
      return plain ? *parsed : nlohmann::json(node.text);
    }
    case ConfigNode::Kind::kList: {
      nlohmann::json list = nlohmann::json::array();
      for (const ConfigNode& item : node.items) list.push_back(config_to_json(item));
      return list;
    }
    case ConfigNode::Kind::kMap: {
      nlohmann::json map = nlohmann::json::object();
      for (const ConfigEntry& entry : node.entries) map[entry.key] = config_to_json(entry.value);
      return map;
    }
  }
  return nullptr;
}

}  // namespace graft::training
