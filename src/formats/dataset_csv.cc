#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/strings.h"
#include "base/utf8.h"
#include "formats/dataset_readers.h"

namespace graft::formats {
namespace {

// RFC 4180. Records end in LF, CRLF or CR; blank lines are skipped; a quote inside an unquoted field is a character
// like any other, as spreadsheets and pandas have it.
class CsvReader final : public DatasetReader {
 public:
  CsvReader(ByteSource source, const DatasetOptions& options) : source_(std::move(source)), options_(options) {}

  Status read_header() {
    GRAFT_TRY(const bool found, record());
    if (!found) return invalid(source_.path().string() + ": empty; the first line must name the columns");
    std::set<std::string> seen;
    for (const std::string& name : fields_) {
      const std::string place = source_.path().string() + ": header (line " + std::to_string(record_line_) + ")";
      if (name.empty()) return invalid(place + ": column " + std::to_string(seen.size() + 1) + " has no name");
      if (!seen.insert(name).second) return invalid(place + ": column '" + printable(name) + "' is named twice");
    }
    header_ = fields_;
    return {};
  }

  Result<std::optional<DatasetRow>> next() override {
    ++row_;
    GRAFT_TRY(const bool found, record());
    if (!found) return std::optional<DatasetRow>();
    if (fields_.size() != header_.size()) {
      return invalid(place() + ": " + std::to_string(fields_.size()) + " fields, but the header names " +
                     std::to_string(header_.size()) + " columns; quote fields that hold commas or line breaks");
    }
    DatasetRow row{row_, record_line_, nlohmann::ordered_json::object()};
    for (size_t i = 0; i < header_.size(); ++i) row.columns[header_[i]] = std::move(fields_[i]);
    return std::optional(std::move(row));
  }

 private:
  std::string place() const {
    if (row_ == 0) return source_.path().string() + ": header (line " + std::to_string(record_line_) + ")";
    return row_place(source_, row_, record_line_);
  }

  void skip_blank_lines() {
    while (source_.peek() == '\n' || source_.peek() == '\r') source_.take();
  }

  // Reads the next record into fields_. False at the end of the file.
  Result<bool> record() {
    skip_blank_lines();
    record_line_ = source_.line();
    record_bytes_ = 0;
    fields_.clear();
    if (source_.peek() == ByteSource::kEnd) {
      GRAFT_CHECK_OK(source_.status());
      return false;
    }
    while (true) {
      GRAFT_TRY(std::string text, field());
      if (const auto bad = find_invalid_utf8(text)) {
        return invalid(place() + ": byte " + std::to_string(*bad) + " of field " + std::to_string(fields_.size() + 1) +
                       " is not valid UTF-8; convert the file to UTF-8");
      }
      fields_.push_back(std::move(text));
      const int end = source_.take();
      if (end == ',') continue;
      if (end == '\r' && source_.peek() == '\n') source_.take();
      GRAFT_CHECK_OK(source_.status());
      return true;
    }
  }

  static bool ends_field(int byte) { return byte == ',' || byte == '\n' || byte == '\r' || byte == ByteSource::kEnd; }

  Status take_into(std::string& text) {
    text += static_cast<char>(source_.take());
    if (++record_bytes_ <= options_.row_limit) return {};
    return invalid(place() + ": longer than the limit of " + std::to_string(options_.row_limit) +
                   " bytes a row; a quote may be missing");
  }

  // One field, up to but without the byte that ends it.
  Result<std::string> field() {
    std::string text;
    if (source_.peek() != '"') {
      while (!ends_field(source_.peek())) GRAFT_CHECK_OK(take_into(text));
      return text;
    }
    source_.take();
    while (true) {
      const int byte = source_.peek();
      if (byte == ByteSource::kEnd) {
        return invalid(place() + ": the file ends inside a quoted field; it may be cut short, or a quote is missing");
      }
      if (byte == '"') {
        source_.take();
        if (ends_field(source_.peek())) return text;
        if (source_.peek() != '"') {
          return invalid(place() + ": text after the closing quote of field " + std::to_string(fields_.size() + 1) +
                         "; write a quote inside a quoted field twice");
        }
      }
      GRAFT_CHECK_OK(take_into(text));
    }
  }

  ByteSource source_;
  DatasetOptions options_;
  std::vector<std::string> header_;
  std::vector<std::string> fields_;
  int64_t row_ = 0;
  int64_t record_line_ = 1;
  size_t record_bytes_ = 0;
};

}  // namespace

Result<std::unique_ptr<DatasetReader>> make_csv_reader(ByteSource source, const DatasetOptions& options) {
  auto reader = std::make_unique<CsvReader>(std::move(source), options);
  GRAFT_CHECK_OK(reader->read_header());
  return std::unique_ptr<DatasetReader>(std::move(reader));
}

}  // namespace graft::formats
