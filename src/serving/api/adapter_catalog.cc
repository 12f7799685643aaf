#include "serving/api/adapter_catalog.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "base/strings.h"
#include "fmt/format.h"
#include "storage/hub.h"
#include "storage/object_store.h"

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

bool is_visible_ascii(const std::string& text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 0x7f; });
}

// Links are followed: a link into the folder is inside.
bool lies_inside(const std::string& id, const fs::path& folder) {
  std::error_code error;
  const fs::path path = fs::weakly_canonical(fs::absolute(id, error), error);
  if (error) return false;  // then it cannot be opened either
  const fs::path top = fs::weakly_canonical(folder, error);
  const auto [in_folder, in_path] = std::mismatch(top.begin(), top.end(), path.begin(), path.end());
  return in_folder == top.end();
}

std::string source_of(const std::string& id, const std::string& source, const std::string& otherwise) {
  if (!source.empty()) return source;
  return storage::is_object_uri(id) ? "s3" : otherwise;
}

ApiResult<AdapterRef> on_hub(const std::string& id, const std::string& field, const std::string& token) {
  if (token.size() > kMaxIdBytes || !is_visible_ascii(token)) {
    return bad_field("`api_token` must be printable ASCII without spaces", "api_token");
  }
  const auto model = storage::parse_hub_model(id);
  if (model.ok() && model->has_value()) return AdapterRef{id, "hub", token};
  const std::string why = model.ok() ? "" : ": " + model.error().message;
  return bad_field(fmt::format("`{}` must be \"org/name\" or \"org/name@revision\" for the source hub. Given: {}{}",
                               field, printable(id), why),
                   field);
}

// The server's credentials and endpoints are not for requests to choose: no query.
ApiResult<AdapterRef> in_object_store(const std::string& id, const std::string& field) {
  const std::string uri = id.find("://") == std::string::npos ? "s3://" + id : id;
  if (storage::is_object_uri(uri) && !uri.starts_with("file://") && uri.find_first_of("?#") == std::string::npos) {
    return AdapterRef{uri, "s3", ""};
  }
  return bad_field(fmt::format("`{}` must be s3://, gs:// or abfs:// with a bucket and a folder for the source s3, "
                               "without a query. Given: {}",
                               field, printable(id)),
                   field);
}

}  // namespace

AdapterCatalog::AdapterCatalog(std::vector<std::string> base_names, std::string adapter_directory,
                               CatalogSettings settings)
    : base_names_(std::move(base_names)), directory_(std::move(adapter_directory)), settings_(std::move(settings)) {}

bool AdapterCatalog::is_base(const std::string& id) const {
  if (id.empty()) return settings_.default_adapter.empty();
  return id == kLoraxBaseName || std::find(base_names_.begin(), base_names_.end(), id) != base_names_.end();
}

AdapterLabel AdapterCatalog::label(const std::string& id, const std::string& source) const {
  if (is_base(id)) return {};
  const std::string& name = id.empty() ? settings_.default_adapter : id;
  return {name, source_of(name, source, settings_.default_source)};
}

ApiResult<AdapterRef> AdapterCatalog::resolve(const std::string& asked, const std::string& source,
                                              const std::string& field, const std::string& token) const {
  if (is_base(asked)) return AdapterRef{};
  const std::string& id = asked.empty() ? settings_.default_adapter : asked;
  if (id.size() > kMaxIdBytes || has_control_character(id)) {
    return bad_field(
        fmt::format("`{}` must be at most {} bytes long and free of control characters", field, kMaxIdBytes), field);
  }
  const std::string from = source_of(id, source, settings_.default_source);
  if (from == "local") return local(id, field);
  if (from == "hub") return on_hub(id, field, token);
  if (from == "s3") return in_object_store(id, field);
  if (from == "pbase") {
    return bad_field(
        "`adapter_source` \"pbase\" is Predibase's own service, which this server cannot ask; give the "
        "adapter with the source hub, s3 or local",
        "adapter_source");
  }
  return bad_field(fmt::format("`adapter_source` must be one of hub, local, s3. Given: {}", printable(from)),
                   "adapter_source");
}

// A folder is guarded by the file system: a token would only make two copies of the same adapter.
ApiResult<AdapterRef> AdapterCatalog::local(const std::string& id, const std::string& field) const {
  AdapterRef ref{id, "local", ""};
  if (!directory_.empty() && stays_inside(id)) {
    const fs::path path = fs::path(directory_) / id;
    if (is_adapter_folder(path)) ref.id = path.string();
  }
  for (const fs::path& folder : settings_.private_folders) {
    if (!lies_inside(ref.id, folder)) continue;
    return bad_field(fmt::format("`{}` is a path into a cache; ask for the adapter by its own id and source", field),
                     field);
  }
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
