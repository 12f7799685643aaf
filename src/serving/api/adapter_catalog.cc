#include "serving/api/adapter_catalog.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "base/strings.h"
#include "fmt/format.h"

namespace graft::serving::api {
namespace fs = std::filesystem;
namespace {

constexpr size_t kMaxServed = 1024;
constexpr size_t kMaxListed = 10'000;
constexpr size_t kMaxIdBytes = 4096;
constexpr std::string_view kLoraxBaseName = "__base_model__";

bool has_control_character(const std::string& id) {
  return std::any_of(id.begin(), id.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

bool is_adapter_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_regular_file(path / "adapter_config.json", ignored);
}

// A name inside the directory, and not a way out of it.
bool stays_inside(const std::string& id) {
  const fs::path path(id);
  if (path.is_absolute()) return false;
  return std::none_of(path.begin(), path.end(), [](const fs::path& part) { return part == ".."; });
}

}  // namespace

AdapterCatalog::AdapterCatalog(std::vector<std::string> base_names, std::string adapter_directory)
    : base_names_(std::move(base_names)), directory_(std::move(adapter_directory)) {}

bool AdapterCatalog::is_base(const std::string& id) const {
  return id.empty() || id == kLoraxBaseName ||
         std::find(base_names_.begin(), base_names_.end(), id) != base_names_.end();
}

ApiResult<AdapterRef> AdapterCatalog::resolve(const std::string& id, const std::string& source,
                                              const std::string& field) const {
  AdapterRef ref;
  if (is_base(id)) return ref;
  if (!source.empty() && source != "local") {
    return bad_field(fmt::format("`adapter_source` must be \"local\", the only source supported so far. Given: {}",
                                 printable(source)),
                     "adapter_source");
  }
  if (id.size() > kMaxIdBytes || has_control_character(id)) {
    return bad_field(
        fmt::format("`{}` must be at most {} bytes long and free of control characters", field, kMaxIdBytes), field);
  }
  ref.id = id;
  if (!directory_.empty() && stays_inside(id)) {
    const fs::path path = fs::path(directory_) / id;
    if (is_adapter_folder(path)) ref.id = path.string();
  }
  // A local folder is guarded by the file system: a token would only make two copies of the same adapter.
  return ref;
}

void AdapterCatalog::note_served(const std::string& id) {
  const std::lock_guard lock(mutex_);
  if (served_.size() < kMaxServed) served_.insert(id);
}

std::vector<std::string> AdapterCatalog::adapters() const {
  std::set<std::string> names;
  std::error_code error;
  if (!directory_.empty()) {
    fs::directory_iterator it(directory_, error);
    for (; !error && it != fs::directory_iterator() && names.size() < kMaxListed; it.increment(error)) {
      if (is_adapter_folder(it->path())) names.insert(it->path().filename().string());
    }
  }
  const std::lock_guard lock(mutex_);
  names.insert(served_.begin(), served_.end());
  return {names.begin(), names.end()};
}

}  // namespace graft::serving::api
