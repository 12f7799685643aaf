// libFuzzer: the bytes are what a hub answers about a model, or the index of its weights.

#include <algorithm>
#include <cstdlib>
#include <string_view>

#include "base/files.h"
#include "storage/hub_client.h"
#include "storage/hub_files.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);  // NOLINT: libFuzzer's interface
  const auto indexed = graft::storage::files_of_index(text, "index");
  if (indexed.ok()) {
    for (const std::string& file : *indexed) {
      if (!graft::is_safe_path(file)) std::abort();
    }
  }
  const auto listing = graft::storage::parse_hub_listing(text, "hub");
  if (!listing.ok()) return 0;
  const auto& names = listing->files;
  for (const std::string& wanted : {std::string(), names.empty() ? std::string("x.gguf") : names.back()}) {
    const auto picked = graft::storage::pick_model_files(names, wanted, "hub");
    if (!picked.ok()) continue;
    for (const std::string& file : picked->files) {
      if (!graft::is_safe_path(file) || std::find(names.begin(), names.end(), file) == names.end()) std::abort();
    }
  }
  return 0;
}
