#pragma once

#include <cstdint>
#include <string>

namespace graft::serving {

// What tells versions of an adapter's files apart without reading them.
struct AdapterFiles {
  struct Stamp {
    int64_t modified_ns = 0;
    int64_t size = 0;
    uint64_t inode = 0;
    uint64_t device = 0;
    bool operator==(const Stamp&) const = default;
  };
  Stamp config;   // adapter_config.json
  Stamp weights;  // adapter_model.safetensors, else adapter_model.bin
  bool operator==(const AdapterFiles&) const = default;
};

// A missing file has a stamp of zeros: loading will say what is wrong.
AdapterFiles stat_adapter_files(const std::string& directory);

}  // namespace graft::serving
