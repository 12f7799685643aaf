#include "training/pretrained.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "base/files.h"
#include "base/json.h"

namespace graft::training {

namespace {

bool is_adapter(const fs::path& directory) {
  std::error_code ignored;
  return fs::exists(directory / "adapter_config.json", ignored);
}

// The newest checkpoint of a run; -1 where there is none.
int64_t newest_checkpoint(const fs::path& job) {
  int64_t newest = -1;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(job / "checkpoints", ignored)) {
    const std::string name = entry.path().filename().string();
    int64_t step = -1;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), step);
    if (error == std::errc() && end == name.data() + name.size()) newest = std::max(newest, step);
  }
  return newest;
}

Result<fs::path> adapter_in(const fs::path& place) {
  if (is_adapter(place)) return place;
  if (is_adapter(place / "adapter")) return place / "adapter";
  if (const int64_t step = newest_checkpoint(place); step >= 0) {
    return not_found(
        fmt::format("adapter.pretrained_adapter_weights: {} is a run that has not finished; name one of "
                    "its checkpoints, such as {}",
                    place.string(), (place / "checkpoints" / std::to_string(step)).string()));
  }
  return not_found(
      fmt::format("adapter.pretrained_adapter_weights: {} holds no adapter_config.json; name a PEFT "
                  "directory, the directory of a run, or one of its checkpoints",
                  place.string()));
}

std::optional<nlohmann::json> json_object(const fs::path& path) {
  const auto text = read_file(path);
  if (!text.ok()) return std::nullopt;
  auto json = parse_json(*text);
  if (!json.ok() || !json->is_object()) return std::nullopt;
  return std::move(json).value();
}

std::string text_of(const std::optional<nlohmann::json>& json, const char* key) {
  if (!json || !json->contains(key) || !(*json)[key].is_string()) return "";
  return (*json)[key].get<std::string>();
}

// The digest of the base that it was trained over: of its certificate, or of the run that it lies in. Empty: not known.
std::string base_digest(const fs::path& adapter) {
  std::error_code ignored;
  const fs::path here = fs::weakly_canonical(adapter, ignored);
  const fs::path run = here.parent_path();
  for (const fs::path& file :
       {here / "certificate.json", run / "job.json", run.parent_path().parent_path() / "job.json"}) {
    if (std::string digest = text_of(json_object(file), "base_digest"); !digest.empty()) return digest;
  }
  return "";
}

}  // namespace

Result<PretrainedAdapter> find_pretrained(const std::string& named, const BaseModelInfo& base) {
  std::error_code ignored;
  fs::path place = named;
  if (!fs::exists(place, ignored)) {
    const auto home = graft_home();
    const bool may_be_name = named.find('/') == std::string::npos;
    if (!home.ok() || !may_be_name || !fs::exists(*home / "jobs" / named, ignored)) {
      return not_found(fmt::format("adapter.pretrained_adapter_weights: {} is not there{}", named,
                                   may_be_name ? ", and no run in $GRAFT_HOME/jobs has this name" : ""));
    }
    place = *home / "jobs" / named;
  }
  GRAFT_TRY(const fs::path directory, adapter_in(place));
  PretrainedAdapter found{directory.string(), {}};
  const std::string digest = base_digest(directory);
  if (!digest.empty() && digest != base.digest) {
    return conflict(
        fmt::format("{}: was trained over another base model (SHA-256 {:.12}..., {} is {:.12}...): set base_model to "
                    "the one that it "
                    "belongs to",
                    found.directory, digest, base.name, base.digest));
  }
  const std::string name = text_of(json_object(directory / "adapter_config.json"), "base_model_name_or_path");
  if (digest.empty() && !name.empty() && name != base.name) {
    found.warnings.push_back(
        fmt::format("{} says that it was made for the base model {}, not {}, and has nothing to check it by",
                    found.directory, name, base.name));
  }
  return found;
}

}  // namespace graft::training
