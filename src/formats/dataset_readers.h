#pragma once

#include <memory>
#include <string>

#include "formats/byte_source.h"
#include "formats/dataset.h"

// The readers behind DatasetReader::open, one per file format.
namespace graft::formats {

std::unique_ptr<DatasetReader> make_json_lines_reader(ByteSource source, const DatasetOptions& options);
std::unique_ptr<DatasetReader> make_json_array_reader(ByteSource source, const DatasetOptions& options);
Result<std::unique_ptr<DatasetReader>> make_csv_reader(ByteSource source, const DatasetOptions& options);

// "FILE: row 3 (line 7)": the place of every message about a row.
std::string row_place(const ByteSource& source, int64_t row, int64_t line);

// A row's JSON text as a row, with the checks that JSON lines and JSON arrays share.
Result<DatasetRow> parse_json_row(const ByteSource& source, int64_t row, int64_t line, std::string_view text);

}  // namespace graft::formats
