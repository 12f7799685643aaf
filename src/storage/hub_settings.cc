#include <algorithm>
#include <cstdlib>

#include "base/files.h"
#include "base/strings.h"
#include "storage/hub.h"

namespace graft::storage {
namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// The values that huggingface_hub takes for yes.
bool is_set(const char* name) {
  std::string value = environment(name);
  std::transform(value.begin(), value.end(), value.begin(), [](unsigned char c) { return std::toupper(c); });
  return value == "1" || value == "ON" || value == "YES" || value == "TRUE";
}

fs::path expand_home(const std::string& path) {
  if (path == "~" || path.starts_with("~/")) return environment("HOME") + path.substr(1);
  return path;
}

fs::path path_from(const char* name, const fs::path& otherwise) {
  const std::string value = environment(name);
  return value.empty() ? otherwise : expand_home(value);
}

std::string trim(std::string text) {
  const auto space = [](char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; };
  while (!text.empty() && space(text.back())) text.pop_back();
  while (!text.empty() && space(text.front())) text.erase(text.begin());
  return text;
}

Result<std::string> find_token(const fs::path& home) {
  for (const char* name : {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"}) {
    if (std::string token = trim(environment(name)); !token.empty()) return token;
  }
  if (is_set("HF_HUB_DISABLE_IMPLICIT_TOKEN")) return std::string();
  auto file = read_file(path_from("HF_TOKEN_PATH", home / "token"), 1 << 16);
  if (!file.ok()) return file.error().kind == ErrorKind::kNotFound ? Result<std::string>(std::string()) : file.error();
  return trim(std::move(*file));
}

}  // namespace

Result<HubSettings> HubSettings::from_environment() {
  HubSettings settings;
  if (const std::string endpoint = environment("HF_ENDPOINT"); !endpoint.empty()) settings.endpoint = endpoint;
  while (settings.endpoint.ends_with('/')) settings.endpoint.pop_back();
  if (!settings.endpoint.starts_with("http://") && !settings.endpoint.starts_with("https://")) {
    return invalid("HF_ENDPOINT is '" + printable(settings.endpoint) + "': it must begin with https:// or http://");
  }
  const fs::path xdg = path_from("XDG_CACHE_HOME", expand_home("~/.cache"));
  const fs::path home = path_from("HF_HOME", xdg / "huggingface");
  settings.cache = path_from("HF_HUB_CACHE", path_from("HUGGINGFACE_HUB_CACHE", home / "hub"));
  settings.offline = is_set("HF_HUB_OFFLINE") || is_set("TRANSFORMERS_OFFLINE");
  GRAFT_TRY(settings.token, find_token(home));
  if (settings.token.find_first_of("\r\n") != std::string::npos) return invalid("the hub's token holds a line break");
  return settings;
}

Result<std::optional<HubModel>> parse_hub_model(std::string_view text) {
  constexpr std::string_view kScheme = "hf://";
  const bool schemed = text.starts_with(kScheme);
  if (schemed) text.remove_prefix(kScheme.size());
  HubModel model;
  if (const size_t at = text.find('@'); at != std::string_view::npos) {
    model.revision = text.substr(at + 1);
    text = text.substr(0, at);
  }
  model.repo = text;
  const size_t slash = text.find('/');
  const bool shaped = slash != std::string_view::npos && text.find('/', slash + 1) == std::string_view::npos;
  if (!shaped && !schemed) return std::optional<HubModel>();
  constexpr std::string_view kAllowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./";
  const auto bad_end = [](std::string_view part) {
    return part.empty() || part.front() == '.' || part.front() == '-' || part.back() == '.' || part.back() == '-';
  };
  const std::string name = printable(text);
  if (!shaped || text.find_first_not_of(kAllowed) != std::string_view::npos || text.size() > 200 ||
      bad_end(text.substr(0, slash)) || bad_end(text.substr(slash + 1)) || text.find("--") != std::string_view::npos ||
      text.find("..") != std::string_view::npos) {
    if (!schemed && (text.starts_with('.') || text.starts_with('/') || text.starts_with('~'))) {
      return std::optional<HubModel>();  // a path
    }
    return invalid("'" + name + "' is no model on a hub: write ORG/NAME or ORG/NAME@REVISION");
  }
  if (!model.revision.empty() && (model.revision.front() == '/' || model.revision.find("..") != std::string::npos ||
                                  model.revision.find_first_not_of(kAllowed) != std::string::npos ||
                                  model.revision.back() == '/' || model.revision.find("//") != std::string::npos)) {
    return invalid("'" + printable(model.revision) + "' is no revision: give a branch, a tag or a commit");
  }
  if (model.revision.empty()) return invalid("'" + name + "@': the revision is missing");
  return std::optional(std::move(model));
}

}  // namespace graft::storage
