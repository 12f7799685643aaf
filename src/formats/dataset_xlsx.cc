#include <charconv>
#include <cmath>
#include <deque>
#include <optional>
#include <set>

#include "base/mapped_file.h"
#include "base/strings.h"
#include "formats/dataset_readers.h"
#include "formats/xlsx_workbook.h"
#include "formats/xml_parser.h"

namespace graft::formats {
namespace {

using Json = nlohmann::ordered_json;

constexpr uint32_t kMaxColumns = 16384;  // "XFD", and the format's own limit
constexpr int64_t kMaxRows = 1 << 20;

struct SheetCell {
  uint32_t column = 0;  // from 0
  Json value;
};

struct SheetRow {
  int64_t number = 0;            // in the sheet, from 1
  std::vector<SheetCell> cells;  // those that hold something, from left to right
};

std::string column_name(uint32_t column) {
  std::string name;
  for (uint32_t rest = column + 1; rest > 0; rest = (rest - 1) / 26) {
    name.insert(name.begin(), static_cast<char>('A' + (rest - 1) % 26));
  }
  return name;
}

// "BC23" -> 54. Nothing where it is no reference to a cell of a sheet.
std::optional<uint32_t> column_of(std::string_view reference) {
  uint32_t column = 0;
  size_t i = 0;
  for (; i < reference.size() && reference[i] >= 'A' && reference[i] <= 'Z'; ++i) {
    column = column * 26 + static_cast<uint32_t>(reference[i] - 'A') + 1;
    if (column > kMaxColumns) return std::nullopt;
  }
  if (i == 0) return std::nullopt;
  return column - 1;
}

// The rows of a sheet's XML, queued as they become complete.
class SheetParser final : public XmlParser {
 public:
  SheetParser(const XlsxWorkbook& workbook, size_t row_limit) : workbook_(workbook), row_limit_(row_limit) {}

  std::deque<SheetRow> rows;
  [[nodiscard]] int64_t row_number() const { return row_.number; }  // of the row that is being read

 private:
  void start(std::string_view name, const XmlAttributes& attributes) override {
    if (name == "row") return start_row(attributes);
    if (name == "c") return start_cell(attributes);
    if (name == "f") formula_ = true;
    if (name == "rPh") phonetic_ = true;
    if (name == "v" || (name == "t" && !phonetic_)) {
      inside_ = in_cell_;
      has_value_ = has_value_ || in_cell_;
    }
  }

  void end(std::string_view name) override {
    if (name == "v" || name == "t") inside_ = false;
    if (name == "rPh") phonetic_ = false;
    if (name == "c" && in_cell_) {
      in_cell_ = false;
      auto value = cell_value();
      if (!value.ok()) return fail(at("cell " + column_name(column_) + std::to_string(row_.number), value.error()));
      if (!value->is_null()) row_.cells.push_back({column_, std::move(*value)});
    }
    if (name == "row" && in_row_) {
      in_row_ = false;
      if (!row_.cells.empty()) rows.push_back(std::move(row_));
      row_.cells.clear();
    }
  }

  void text(std::string_view piece) override {
    if (!inside_) return;
    text_ += piece;
    row_bytes_ += piece.size();
    if (row_bytes_ > row_limit_) too_long();
  }

  void too_long() { fail(invalid("longer than the limit of " + std::to_string(row_limit_) + " bytes a row")); }

  void start_row(const XmlAttributes& attributes) {
    int64_t number = row_.number + 1;
    const std::string_view given = attributes.get("r");
    if (!given.empty() &&
        std::from_chars(given.data(), given.data() + given.size(), number).ptr != given.data() + given.size()) {
      return fail(invalid("a row with the number '" + printable(given, 20) + "'"));
    }
    if (number <= row_.number || number > kMaxRows) return fail(invalid("rows that are not in order"));
    row_.number = number;
    row_.cells.clear();
    row_bytes_ = 0;
    next_column_ = 0;
    in_row_ = true;
  }

  void start_cell(const XmlAttributes& attributes) {
    if (!in_row_) return;
    column_ = next_column_;
    if (attributes.has("r")) {
      const auto column = column_of(attributes.get("r"));
      if (!column) return fail(invalid("no cell is called '" + printable(attributes.get("r"), 20) + "'"));
      if (*column < next_column_) return fail(invalid("cells that are not in order"));
      column_ = *column;
    }
    if (column_ >= kMaxColumns) return fail(invalid("more than 16384 columns"));
    next_column_ = column_ + 1;
    type_ = attributes.get("t");
    style_ = 0;
    const std::string_view style = attributes.get("s");
    std::from_chars(style.data(), style.data() + style.size(), style_);
    text_.clear();
    formula_ = has_value_ = false;
    in_cell_ = true;
  }

  Result<Json> cell_value() {
    if (formula_ && !has_value_) {
      return unsupported("a formula without a saved value; open the workbook in a spreadsheet program and save it");
    }
    if (!has_value_) return Json();
    if (type_ == "inlineStr" || type_ == "str") return Json(xlsx_unescape(std::move(text_)));
    if (text_.empty()) return Json();
    if (type_ == "s") return shared_string();
    if (type_ == "b") return boolean();
    if (type_ == "e") return invalid("holds the error " + printable(text_, 40) + "; mend it, or empty the cell");
    if (type_ == "d") return Json(std::move(text_));
    return number();
  }

  Result<Json> shared_string() {
    size_t index = 0;
    const auto [end, error] = std::from_chars(text_.data(), text_.data() + text_.size(), index);
    if (error != std::errc() || end != text_.data() + text_.size() || index >= workbook_.strings.size()) {
      return invalid("points to a text that is not in the workbook; the file is damaged");
    }
    const std::string_view shared = workbook_.strings[index];
    row_bytes_ += shared.size();
    if (row_bytes_ > row_limit_) return invalid("the row is longer than the limit for one row");
    return Json(std::string(shared));
  }

  Result<Json> boolean() const {
    if (text_ == "1" || text_ == "true") return Json(true);
    if (text_ == "0" || text_ == "false") return Json(false);
    return invalid("a truth value that is neither 0 nor 1");
  }

  Result<Json> number() const {
    const char* first = text_.data();
    const char* last = first + text_.size();
    const auto kind = style_ < workbook_.styles.size() ? workbook_.styles[style_] : XlsxFormat::kNumber;
    int64_t whole = 0;
    if (const auto [end, error] = std::from_chars(first, last, whole);
        kind == XlsxFormat::kNumber && error == std::errc() && end == last) {
      return Json(whole);
    }
    double value = 0;
    const auto [end, error] = std::from_chars(first, last, value);
    if (error != std::errc() || end != last || !std::isfinite(value)) {
      return invalid("'" + printable(text_, 40) + "' is no number");
    }
    if (kind == XlsxFormat::kNumber) return Json(value);
    GRAFT_TRY(std::string date, xlsx_date(value, kind, workbook_.from_1904));
    return Json(std::move(date));
  }

  const XlsxWorkbook& workbook_;
  size_t row_limit_;
  SheetRow row_;
  size_t row_bytes_ = 0;
  uint32_t next_column_ = 0;
  uint32_t column_ = 0;
  std::string type_;
  size_t style_ = 0;
  std::string text_;
  bool in_row_ = false;
  bool in_cell_ = false;
  bool inside_ = false;  // of the text of a cell
  bool phonetic_ = false;
  bool formula_ = false;
  bool has_value_ = false;
};

class XlsxReader final : public DatasetReader {
 public:
  XlsxReader(std::string place, std::optional<MappedFile> file, const DatasetOptions& options)
      : place_(std::move(place)), file_(std::move(file)), options_(options) {}

  Status open(std::span<const std::byte> bytes) {
    GRAFT_TRY(archive_, ZipArchive::parse(bytes));
    GRAFT_TRY(workbook_, read_xlsx_workbook(archive_, options_.sheet));
    place_ += ": sheet '" + printable(workbook_.sheet_name) + "'";
    auto sheet = ZipEntryReader::open(*workbook_.sheet);
    if (!sheet.ok()) return sheet.error();
    sheet_ = std::make_unique<ZipEntryReader>(std::move(*sheet));
    parser_ = std::make_unique<SheetParser>(workbook_, options_.row_limit);
    return read_header();
  }

  [[nodiscard]] const std::string& place() const { return place_; }

  Result<std::optional<DatasetRow>> next() override {
    auto row = next_sheet_row();
    ++number_;
    if (!row.ok()) return at(place_ + ": row " + std::to_string(number_), row.error());
    if (!row->has_value()) return std::optional<DatasetRow>();
    DatasetRow out{number_, (*row)->number, Json::object()};
    auto& columns = out.columns.get_ref<Json::object_t&>();
    columns.reserve(header_.size());
    size_t next_cell = 0;
    for (const auto& [column, name] : header_) {
      columns.emplace_back(name, Json());
      auto& cells = (*row)->cells;
      if (next_cell == cells.size()) continue;
      if (cells[next_cell].column < column) break;
      if (cells[next_cell].column == column) columns.back().second = std::move(cells[next_cell++].value);
    }
    if (next_cell < (*row)->cells.size()) {
      return invalid(place_ + ": row " + std::to_string(number_) + " (line " + std::to_string(out.line) + "): cell " +
                     column_name((*row)->cells[next_cell].column) + std::to_string(out.line) +
                     " is in a column that the header does not name");
    }
    return std::optional(std::move(out));
  }

 private:
  Status read_header() {
    auto row = next_sheet_row();
    if (!row.ok()) return at("header", row.error());
    if (!row->has_value()) return invalid("empty; the first row must name the columns");
    std::set<std::string> seen;
    for (SheetCell& cell : (*row)->cells) {
      std::string name = cell.value.is_string() ? cell.value.get<std::string>() : cell.value.dump();
      if (name.empty()) continue;
      if (!seen.insert(name).second) return invalid("header: column '" + printable(name) + "' is named twice");
      header_.emplace_back(cell.column, std::move(name));
    }
    if (header_.empty()) return invalid("the first row must name the columns");
    return {};
  }

  // The next row that holds something. Rows before an error come out before it.
  Result<std::optional<SheetRow>> next_sheet_row() {
    std::vector<std::byte> buffer(size_t{1} << 15);
    while (parser_->rows.empty() && !ended_) {
      GRAFT_CHECK_OK(failed_);
      auto got = sheet_->read(buffer);
      if (!got.ok()) return got.error();
      const std::string_view piece(reinterpret_cast<const char*>(buffer.data()), *got);
      ended_ = piece.empty();
      failed_ = parser_->feed(piece, ended_);
    }
    if (!parser_->rows.empty()) {
      SheetRow row = std::move(parser_->rows.front());
      parser_->rows.pop_front();
      return std::optional(std::move(row));
    }
    GRAFT_CHECK_OK(failed_);
    return std::optional<SheetRow>();
  }

  std::string place_;
  std::optional<MappedFile> file_;
  DatasetOptions options_;
  ZipArchive archive_;
  XlsxWorkbook workbook_;
  std::unique_ptr<ZipEntryReader> sheet_;
  std::unique_ptr<SheetParser> parser_;
  std::vector<std::pair<uint32_t, std::string>> header_;  // columns from left to right
  Status failed_;
  bool ended_ = false;
  int64_t number_ = 0;
};

}  // namespace

Result<std::unique_ptr<DatasetReader>> open_xlsx_bytes(const std::string& name, std::span<const std::byte> bytes,
                                                       const DatasetOptions& options) {
  auto reader = std::make_unique<XlsxReader>(name, std::nullopt, options);
  if (const Status status = reader->open(bytes); !status.ok()) return at(reader->place(), status.error());
  return std::unique_ptr<DatasetReader>(std::move(reader));
}

Result<std::unique_ptr<DatasetReader>> open_xlsx_reader(const std::filesystem::path& path,
                                                        const DatasetOptions& options) {
  GRAFT_TRY(MappedFile file, MappedFile::open(path));
  const std::span<const std::byte> bytes = file.bytes();  // stays where it is when the file is moved
  auto reader = std::make_unique<XlsxReader>(path.string(), std::move(file), options);
  if (const Status status = reader->open(bytes); !status.ok()) return at(reader->place(), status.error());
  return std::unique_ptr<DatasetReader>(std::move(reader));
}

}  // namespace graft::formats
