#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace graft::storage {

struct FetchProgress {
  std::string file;   // that is being fetched
  int64_t done = 0;   // bytes of all the files to fetch, those of earlier runs included
  int64_t total = 0;  // grows as files are found to be needed
};
using OnFetchProgress = std::function<void(const FetchProgress&)>;  // from one thread at a time

}  // namespace graft::storage
