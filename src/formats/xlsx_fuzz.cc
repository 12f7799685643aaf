#include <cstdint>
#include <cstdlib>
#include <span>

#include "formats/dataset_readers.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace graft::formats;
  auto reader = open_xlsx_bytes("xlsx", std::as_bytes(std::span(data, size)), {.row_limit = 1 << 16});
  if (!reader.ok()) return 0;
  for (int64_t number = 1;; ++number) {
    auto row = (*reader)->next();
    if (!row.ok() || !row->has_value()) return 0;
    if ((*row)->number != number) std::abort();
    (void)(*row)->columns.dump();  // throws on text that is not UTF-8
  }
}
