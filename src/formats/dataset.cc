#include "formats/dataset.h"

#include <array>
#include <string_view>

#include "base/strings.h"
#include "formats/dataset_readers.h"

namespace graft::formats {
namespace {

constexpr std::string_view kKnown =
    "known are .jsonl, .ndjson, .json (an array of objects), .csv, .tsv (each also with .gz or .zst), .xlsx, .parquet, "
    ".arrow, .feather and .ipc";

bool one_of(std::string_view ending, std::initializer_list<std::string_view> endings) {
  for (const std::string_view candidate : endings) {
    if (ending == candidate) return true;
  }
  return false;
}

Result<std::unique_ptr<DatasetReader>> open_text(const std::filesystem::path& path, std::string_view ending,
                                                 const DatasetOptions& options) {
  GRAFT_TRY(ByteSource source, ByteSource::open(path));
  if (ending == ".csv") return make_delimited_reader(std::move(source), ',', options);
  if (ending == ".tsv") return make_delimited_reader(std::move(source), '\t', options);
  if (ending == ".json") return make_json_array_reader(std::move(source), options);
  return make_json_lines_reader(std::move(source), options);
}

}  // namespace

std::string row_place(const ByteSource& source, int64_t row, int64_t line) {
  return source.path().string() + ": row " + std::to_string(row) + " (line " + std::to_string(line) + ")";
}

Error not_utf8(const std::string& place, size_t offset, const std::string& what) {
  return invalid(place + ": byte " + std::to_string(offset) + " of " + what +
                 " is not valid UTF-8; convert the file to UTF-8, from Windows-1252 for example: iconv -f WINDOWS-1252 "
                 "-t UTF-8 FILE > NEW_FILE");
}

std::filesystem::path DatasetReader::file_of(const std::filesystem::path& path) {
  const std::string name = path.string();
  const size_t mark = name.rfind(".xlsx#");
  std::error_code error;
  if (mark == std::string::npos || std::filesystem::exists(path, error)) return path;
  return name.substr(0, mark + 5);
}

Result<std::unique_ptr<DatasetReader>> DatasetReader::open(const std::filesystem::path& path,
                                                           const DatasetOptions& options) {
  const std::string name = path.string();
  if (const std::string file = file_of(path); file != name) {
    DatasetOptions with_sheet = options;
    with_sheet.sheet = name.substr(file.size() + 1);
    return open_xlsx_reader(file, with_sheet);
  }
  const PackedName packed = packed_name(path);
  const std::string ending = std::filesystem::path(packed.name).extension().string();
  const bool plain = packed.packing == PackedName::Packing::kNone;
  if (one_of(ending, {".jsonl", ".ndjson", ".json", ".csv", ".tsv"})) return open_text(path, ending, options);
  if (one_of(ending, {".xlsx", ".parquet", ".arrow", ".feather", ".ipc"})) {
    if (!plain) return unsupported(name + ": a packed " + ending + " file is not read; unpack it first");
    return ending == ".xlsx" ? open_xlsx_reader(path, options) : open_arrow_reader(path, options);
  }
  if (ending == ".xls") return unsupported(name + ": the old .xls format is not read; save the workbook as .xlsx");
  return unsupported(name + ": unknown kind of dataset '" + printable(ending) + "'; " + std::string(kKnown));
}

}  // namespace graft::formats
