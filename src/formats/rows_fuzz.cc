#include <cstdint>
#include <cstdlib>
#include <string>

#include "formats/dataset_readers.h"

// The first byte picks the format (csv, tsv, jsonl, json) and the packing (none, gzip, zstd); the rest is the file.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace graft::formats;
  if (size == 0) return 0;
  const DatasetOptions options{.row_limit = 1 << 16};
  std::unique_ptr<ByteStream> bytes =
      make_memory_stream(std::string(reinterpret_cast<const char*>(data) + 1, size - 1));
  const int packing = data[0] >> 2 & 3;
  if (packing != 0 && size > 1024) return 0;  // what it unpacks to is long already
  if (packing == 1) bytes = make_gzip_stream(std::move(bytes));
  if (packing == 2) {
    auto unpacked = make_zstd_stream(std::move(bytes));
    if (!unpacked.ok()) return 0;
    bytes = std::move(*unpacked);
  }
  auto stream = make_utf8_stream(std::move(bytes));
  if (!stream.ok()) return 0;
  ByteSource source("rows", std::move(*stream));
  std::unique_ptr<DatasetReader> reader;
  if (data[0] % 4 < 2) {
    auto opened = make_delimited_reader(std::move(source), data[0] % 4 == 0 ? ',' : '\t', options);
    if (!opened.ok()) return 0;
    reader = std::move(*opened);
  } else if (data[0] % 4 == 2) {
    reader = make_json_lines_reader(std::move(source), options);
  } else {
    reader = make_json_array_reader(std::move(source), options);
  }
  for (int64_t number = 1;; ++number) {
    auto row = reader->next();
    if (!row.ok() || !row->has_value()) return 0;
    if ((*row)->number != number || !(*row)->columns.is_object()) std::abort();
    (void)(*row)->columns.dump();  // throws on text that is not UTF-8
  }
}
