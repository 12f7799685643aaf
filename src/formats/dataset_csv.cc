#include <algorithm>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/strings.h"
#include "base/utf8.h"
#include "formats/dataset_readers.h"

namespace graft::formats {
namespace {

constexpr size_t kMaxColumns = size_t{1} << 16;  // an empty field costs one byte in the file, but 32 in memory

// Records end in LF, CRLF or CR; blank lines are skipped; a quote inside an unquoted field is a character like any
// other, as spreadsheets and pandas have it.
class DelimitedReader final : public DatasetReader {
 public:
  DelimitedReader(ByteSource source, char delimiter, const DatasetOptions& options)
      : source_(std::move(source)),
        options_(options),
        delimiter_(delimiter),
        field_end_(std::string(1, delimiter) + "\n\r") {}

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
                     std::to_string(header_.size()) + " columns; quote fields that hold " + delimiter_name() +
                     " or line breaks");
    }
    DatasetRow row{row_, record_line_, nlohmann::ordered_json::object()};
    auto& columns = row.columns.get_ref<nlohmann::ordered_json::object_t&>();
    columns.reserve(header_.size());
    // The header's names differ from each other, so that nothing needs to be looked up.
    for (size_t i = 0; i < header_.size(); ++i) columns.emplace_back(header_[i], std::move(fields_[i]));
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

  [[nodiscard]] std::string delimiter_name() const { return delimiter_ == '\t' ? "tabs" : "commas"; }

  // Reads the next record into fields_. False at the end of the file.
  Result<bool> record() {
    skip_blank_lines();
    record_line_ = source_.line();
    room_ = options_.row_limit;
    fields_.clear();
    if (source_.peek() == ByteSource::kEnd) {
      GRAFT_CHECK_OK(source_.status_at(place()));
      return false;
    }
    while (true) {
      if (fields_.size() == kMaxColumns) {
        return invalid(place() + ": more than " + std::to_string(kMaxColumns) + " fields in one record");
      }
      std::string& text = fields_.emplace_back();
      GRAFT_CHECK_OK(field(text));
      GRAFT_CHECK_OK(source_.status_at(place()));
      if (const auto bad = find_invalid_utf8(text)) {
        return not_utf8(place(), *bad, "field " + std::to_string(fields_.size()));
      }
      const int end = source_.take();
      if (end == delimiter_) continue;
      if (end == '\r' && source_.peek() == '\n') source_.take();
      return true;
    }
  }

  bool ends_field(int byte) const { return byte == ByteSource::kEnd || field_end_.has(static_cast<char>(byte)); }

  // Takes a run into `text`, within what the row may still hold.
  Status take_run(const ByteSet& stop, std::string& text) {
    const size_t before = text.size();
    const bool too_long = source_.take_until(stop, text, room_ + 1);
    room_ -= std::min(room_, text.size() - before);
    if (!too_long) return {};
    return invalid(place() + ": longer than the limit of " + std::to_string(options_.row_limit) +
                   " bytes a row; a quote may be missing");
  }

  // One field, up to but without the byte that ends it.
  Status field(std::string& text) {
    if (source_.peek() != '"') return take_run(field_end_, text);
    source_.take();
    while (true) {
      GRAFT_CHECK_OK(take_run(quote_, text));
      if (source_.take() == ByteSource::kEnd) {
        GRAFT_CHECK_OK(source_.status_at(place()));
        return invalid(place() + ": the file ends inside a quoted field; it may be cut short, or a quote is missing");
      }
      if (ends_field(source_.peek())) return {};
      if (source_.peek() != '"') {
        return invalid(place() + ": text after the closing quote of field " + std::to_string(fields_.size()) +
                       "; write a quote inside a quoted field twice");
      }
      source_.take();
      text += '"';
      room_ -= std::min<size_t>(room_, 1);
    }
  }

  ByteSource source_;
  DatasetOptions options_;
  char delimiter_;
  ByteSet field_end_;
  ByteSet quote_{"\""};
  std::vector<std::string> header_;
  std::vector<std::string> fields_;
  int64_t row_ = 0;
  int64_t record_line_ = 1;
  size_t room_ = 0;  // bytes that the record may still take
};

}  // namespace

Result<std::unique_ptr<DatasetReader>> make_delimited_reader(ByteSource source, char delimiter,
                                                             const DatasetOptions& options) {
  auto reader = std::make_unique<DelimitedReader>(std::move(source), delimiter, options);
  GRAFT_CHECK_OK(reader->read_header());
  return std::unique_ptr<DatasetReader>(std::move(reader));
}

}  // namespace graft::formats
