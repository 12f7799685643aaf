#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "base/result.h"

namespace graft::formats {

// One row of a dataset. `columns` is an object in the file's order.
struct DatasetRow {
  int64_t number = 0;  // from 1; blank lines, blank rows and the header are not counted
  int64_t line = 0;    // where it starts in the file, from 1; of .xlsx the row of the sheet; 0: there are no lines
  nlohmann::ordered_json columns;
};

struct DatasetOptions {
  size_t row_limit = size_t{64} << 20;  // bytes of one row; more is an error
  std::string sheet = {};               // of .xlsx; empty: the first one
};

// The rows of a data file, streamed: memory holds a row and buffers, never the file. The name's ending, in any case,
// says what the file is:
//
//   .jsonl .ndjson   an object a line
//   .json            one array of objects
//   .csv .tsv        RFC 4180 with commas, or tabs; the first record names the columns; every cell is a string
//   .xlsx            a sheet of a workbook (ISO/IEC 29500); the first row that is not blank names the columns
//   .parquet         Apache Parquet
//   .arrow .feather .ipc   Apache Arrow's IPC format, of the file and the stream kind
//
// Text files may be packed (.jsonl.gz, .csv.zst) and are UTF-8, with or without a byte order mark, or UTF-16 with one;
// any other encoding is an error. What cells become:
//
//   json          what they are
//   csv, tsv      strings
//   xlsx          strings, numbers (integers where they are written so), booleans; numbers in a date format ISO 8601
//                 text ("2026-01-31", "2026-01-31T12:00:00", "12:00:00"); empty cells null; a formula its saved value;
//                 an error value (#N/A) is an error
//   parquet,      null, booleans, integers, floats (NaN, which stands for "missing" there, null; infinity is an error),
//   arrow         strings, decimals as strings in full precision; binary as a string, which must be UTF-8; dates, times
//                 and time stamps ISO 8601 text ("2026-01-31", "12:00:00.25", "2026-01-31T12:00:00", with "Z" where the
//                 type has a zone); lists arrays; structs, and maps with text keys, objects; dictionaries their values;
//                 other types are errors that name the column
//
// Every error names the file, the row and, where there are lines, the line. After an error or the end, stop.
class DatasetReader {
 public:
  // "BOOK.xlsx#SHEET" names a sheet as well, where no file is called so.
  static Result<std::unique_ptr<DatasetReader>> open(const std::filesystem::path& path,
                                                     const DatasetOptions& options = {});
  static std::filesystem::path file_of(const std::filesystem::path& path);  // without such a sheet
  virtual ~DatasetReader() = default;

  virtual Result<std::optional<DatasetRow>> next() = 0;  // nothing at the end
};

}  // namespace graft::formats
