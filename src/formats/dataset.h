#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "base/result.h"

namespace graft::formats {

// One row of a dataset. `columns` is an object in the file's order; the cells of a CSV are strings.
struct DatasetRow {
  int64_t number = 0;  // from 1, blank lines and the CSV header not counted
  int64_t line = 0;    // where it starts in the file, from 1
  nlohmann::ordered_json columns;
};

struct DatasetOptions {
  size_t row_limit = size_t{64} << 20;  // bytes of one row; more is an error
};

// Rows of a .jsonl (or .ndjson), .json (one array of objects) or .csv file (RFC 4180 with a header line), streamed:
// memory holds one row and a read buffer. A UTF-8 byte order mark is skipped. Every error names the file, the row and
// the line. After an error or the end, stop.
class DatasetReader {
 public:
  static Result<std::unique_ptr<DatasetReader>> open(const std::filesystem::path& path,
                                                     const DatasetOptions& options = {});
  virtual ~DatasetReader() = default;

  virtual Result<std::optional<DatasetRow>> next() = 0;  // nothing at the end
};

}  // namespace graft::formats
