#include <algorithm>
#include <charconv>
#include <fstream>
#include <sstream>

#include "recipe/memory_plan.h"

namespace graft::recipe {
namespace {

namespace fs = std::filesystem;

std::optional<std::string> read_text(const fs::path& path) {
  std::ifstream file(path);
  if (!file) return std::nullopt;
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

std::optional<int64_t> read_number(const fs::path& path) {
  const auto text = read_text(path);
  int64_t number = 0;
  if (!text || std::from_chars(text->data(), text->data() + text->size(), number).ec != std::errc()) {
    return std::nullopt;  // not there, or "max"
  }
  return number;
}

// The number behind `name` in a file of lines "NAME NUMBER ...".
std::optional<int64_t> find_number(const fs::path& path, const std::string& name) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string word;
    int64_t number = 0;
    if (words >> word >> number && word == name) return number;
  }
  return std::nullopt;
}

struct GroupFiles {
  const char* limit;
  const char* usage;
  const char* reclaimable;  // in memory.stat: file pages that the kernel gives back on demand
};
constexpr GroupFiles kVersion2 = {"memory.max", "memory.current", "inactive_file"};
constexpr GroupFiles kVersion1 = {"memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"};

std::optional<int64_t> left_in_group(const fs::path& group, const GroupFiles& files) {
  const auto limit = read_number(group / files.limit);
  const auto usage = read_number(group / files.usage);
  if (!limit || !usage) return std::nullopt;
  const int64_t reclaimable = find_number(group / "memory.stat", files.reclaimable).value_or(0);
  return std::max<int64_t>(0, *limit - std::max<int64_t>(0, *usage - reclaimable));
}

// The path of this process's group below the mount point, by /proc/self/cgroup: "0::/a/b", or "4:memory:/a/b".
fs::path own_group(const fs::path& root, bool version1) {
  std::ifstream file(root / "proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const auto first = line.find(':');
    const auto second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (version1 ? controllers.find("memory") == std::string::npos : !controllers.empty()) continue;
    return fs::path(line.substr(second + 1)).relative_path();
  }
  return {};
}

void lower(std::optional<int64_t>& least, std::optional<int64_t> other) {
  if (other && (!least || *other < *least)) least = other;
}

// A group's limit holds for everything below it, so every ancestor counts. Inside a container the group's own path
// often does not exist, and the mount point stands for it.
std::optional<int64_t> left_in_groups(const fs::path& mount, fs::path group, const GroupFiles& files) {
  std::optional<int64_t> least = left_in_group(mount, files);
  for (; !group.empty(); group = group.parent_path()) lower(least, left_in_group(mount / group, files));
  return least;
}

}  // namespace

std::optional<int64_t> available_memory(const fs::path& root) {
  std::optional<int64_t> least;
  if (const auto kib = find_number(root / "proc/meminfo", "MemAvailable:")) least = *kib * 1024;
  lower(least, left_in_groups(root / "sys/fs/cgroup", own_group(root, false), kVersion2));
  lower(least, left_in_groups(root / "sys/fs/cgroup/memory", own_group(root, true), kVersion1));
  return least;
}

}  // namespace graft::recipe
