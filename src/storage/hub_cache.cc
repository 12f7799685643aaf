#include "storage/hub_cache.h"

#include <algorithm>

#include "base/file_errors.h"
#include "base/files.h"

namespace graft::storage {
namespace {

std::string folder_name(const std::string& repo) {
  const size_t slash = repo.find('/');
  return "models--" + repo.substr(0, slash) + "--" + repo.substr(slash + 1);
}

}  // namespace

bool is_commit(std::string_view revision) {
  return revision.size() == 40 && revision.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

HubCache::HubCache(fs::path cache, const std::string& repo)
    : folder_(cache / folder_name(repo)), locks_(cache / ".locks" / folder_name(repo)) {}

std::optional<std::string> HubCache::commit_of(const std::string& revision) const {
  if (is_commit(revision)) return revision;
  auto text = read_file(folder_ / "refs" / revision, 4096);
  if (!text.ok()) return std::nullopt;
  while (!text->empty() && (text->back() == '\n' || text->back() == '\r')) text->pop_back();
  if (!is_commit(*text)) return std::nullopt;
  return *text;
}

Status HubCache::remember(const std::string& revision, const std::string& commit) const {
  if (is_commit(revision) || commit_of(revision) == commit) return {};
  const fs::path path = folder_ / "refs" / revision;  // a revision may have slashes
  GRAFT_CHECK_OK(make_directories(path.parent_path()));
  return write_file_atomic(path, commit);
}

std::vector<std::string> HubCache::files(const std::string& commit) const {
  std::vector<std::string> names;
  const fs::path root = snapshot(commit);
  std::error_code error;
  fs::recursive_directory_iterator walk(root, error);
  for (const fs::recursive_directory_iterator end; !error && walk != end; walk.increment(error)) {
    std::error_code gone;
    if (fs::is_regular_file(walk->path(), gone))
      names.push_back(walk->path().lexically_relative(root).generic_string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

Result<FileLock> HubCache::lock(const std::string& etag) const {
  GRAFT_CHECK_OK(make_directories(locks_));
  return FileLock::acquire(locks_ / (etag + ".lock"));
}

Status HubCache::link(const std::string& commit, const std::string& name, const std::string& etag) const {
  const fs::path place = snapshot(commit) / name;
  GRAFT_CHECK_OK(make_directories(place.parent_path()));
  std::error_code error;
  fs::remove(place, error);  // a link to a blob that is gone
  fs::create_symlink(blob(etag).lexically_relative(place.parent_path()), place, error);
  if (error && !fs::exists(place)) return system_error("cannot link", place, error.value());
  return {};
}

}  // namespace graft::storage
