#pragma once

#include <memory>
#include <span>
#include <string>

#include "formats/byte_source.h"
#include "formats/dataset.h"

// The readers behind DatasetReader::open, one per file format.
namespace graft::formats {

std::unique_ptr<DatasetReader> make_json_lines_reader(ByteSource source, const DatasetOptions& options);
std::unique_ptr<DatasetReader> make_json_array_reader(ByteSource source, const DatasetOptions& options);
Result<std::unique_ptr<DatasetReader>> make_delimited_reader(ByteSource source, char delimiter,
                                                             const DatasetOptions& options);
Result<std::unique_ptr<DatasetReader>> open_xlsx_reader(const std::filesystem::path& path,
                                                        const DatasetOptions& options);
// The same from bytes that outlive the reader. `name` is only what errors say.
Result<std::unique_ptr<DatasetReader>> open_xlsx_bytes(const std::string& name, std::span<const std::byte> bytes,
                                                       const DatasetOptions& options);
// Parquet and Arrow IPC; loads the library that links Arrow (src/arrow).
Result<std::unique_ptr<DatasetReader>> open_arrow_reader(const std::filesystem::path& path,
                                                         const DatasetOptions& options);

// What that library exports for it, with C linkage under this name.
using OpenArrowDataset = void(const std::filesystem::path& path, const DatasetOptions& options,
                              Result<std::unique_ptr<DatasetReader>>& reader);
constexpr const char* kOpenArrowDataset = "graft_arrow_open_dataset";

// "FILE: row 3 (line 7)": the place of every message about a row.
std::string row_place(const ByteSource& source, int64_t row, int64_t line);

// The error of bytes that are not UTF-8: `offset` counts from the beginning of `what`.
Error not_utf8(const std::string& place, size_t offset, const std::string& what);

}  // namespace graft::formats
