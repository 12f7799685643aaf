#include "serving/adapter_files.h"

#include <sys/stat.h>

namespace graft::serving {
namespace {

AdapterFiles::Stamp stat_file(const std::string& path) {
  struct stat info{};
  if (::stat(path.c_str(), &info) != 0) return {};
  return {static_cast<int64_t>(info.st_mtim.tv_sec) * 1'000'000'000 + info.st_mtim.tv_nsec,
          static_cast<int64_t>(info.st_size), static_cast<uint64_t>(info.st_ino), static_cast<uint64_t>(info.st_dev)};
}

}  // namespace

AdapterFiles stat_adapter_files(const std::string& directory) {
  AdapterFiles files{stat_file(directory + "/adapter_config.json"),
                     stat_file(directory + "/adapter_model.safetensors")};
  if (files.weights == AdapterFiles::Stamp{}) files.weights = stat_file(directory + "/adapter_model.bin");
  return files;
}

}  // namespace graft::serving
