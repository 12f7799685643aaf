#include "formats/dataset.h"

#include <algorithm>
#include <cctype>

#include "base/json.h"
#include "base/utf8.h"
#include "formats/dataset_readers.h"

namespace graft::formats {

std::string row_place(const ByteSource& source, int64_t row, int64_t line) {
  return source.path().string() + ": row " + std::to_string(row) + " (line " + std::to_string(line) + ")";
}

Result<DatasetRow> parse_json_row(const ByteSource& source, int64_t row, int64_t line, std::string_view text) {
  const std::string place = row_place(source, row, line);
  if (const auto bad = find_invalid_utf8(text)) {
    return invalid(place + ": byte " + std::to_string(*bad) +
                   " of the row is not valid UTF-8; convert the file to UTF-8");
  }
  auto columns = parse_ordered_json(text);
  if (!columns.ok()) return at(place, columns.error());
  if (!columns->is_object()) {
    return invalid(place + ": a row must be a JSON object with a key per column, not " + columns->type_name());
  }
  return DatasetRow{row, line, std::move(columns).value()};
}

Result<std::unique_ptr<DatasetReader>> DatasetReader::open(const std::filesystem::path& path,
                                                           const DatasetOptions& options) {
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  const bool lines = extension == ".jsonl" || extension == ".ndjson";
  if (!lines && extension != ".json" && extension != ".csv") {
    return unsupported(path.string() + ": unknown kind of dataset '" + extension +
                       "'; known are .jsonl, .ndjson, .json (an array of objects) and .csv");
  }
  GRAFT_TRY(ByteSource source, ByteSource::open(path));
  if (extension == ".csv") return make_csv_reader(std::move(source), options);
  return lines ? make_json_lines_reader(std::move(source), options)
               : make_json_array_reader(std::move(source), options);
}

}  // namespace graft::formats
