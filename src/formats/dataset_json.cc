#include <string>
#include <string_view>

#include "base/json.h"
#include "base/utf8.h"
#include "formats/dataset_readers.h"

namespace graft::formats {
namespace {

bool is_space(int byte) { return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n'; }

Error too_long(const std::string& place, size_t limit) {
  return invalid(place + ": longer than the limit of " + std::to_string(limit) + " bytes a row");
}

// A row's JSON text as a row, with the checks that JSON lines and JSON arrays share.
Result<DatasetRow> parse_row(const ByteSource& source, int64_t row, int64_t line, std::string_view text) {
  auto columns = parse_ordered_json(text, {.first_line = line});
  if (columns.ok() && columns->is_object()) return DatasetRow{row, line, std::move(columns).value()};
  const std::string place = row_place(source, row, line);
  if (const auto bad = find_invalid_utf8(text)) return not_utf8(place, *bad, "the row");
  if (!columns.ok()) return at(place, columns.error());
  return invalid(place + ": a row must be a JSON object with a key per column, not " + columns->type_name());
}

class JsonLinesReader final : public DatasetReader {
 public:
  JsonLinesReader(ByteSource source, const DatasetOptions& options) : source_(std::move(source)), options_(options) {}

  Result<std::optional<DatasetRow>> next() override {
    while (source_.peek() != ByteSource::kEnd) {
      const int64_t line = source_.line();
      text_.clear();
      if (source_.take_until(line_end_, text_, options_.row_limit + 1)) {
        return too_long(row_place(source_, row_ + 1, line), options_.row_limit);
      }
      source_.take();
      GRAFT_CHECK_OK(source_.status_at(row_place(source_, row_ + 1, line)));
      if (text_.find_first_not_of(" \t\r") == std::string::npos) continue;
      GRAFT_TRY(DatasetRow row, parse_row(source_, ++row_, line, text_));
      return std::optional(std::move(row));
    }
    GRAFT_CHECK_OK(source_.status_at(row_place(source_, row_ + 1, source_.line())));
    return std::optional<DatasetRow>();
  }

 private:
  ByteSource source_;
  DatasetOptions options_;
  ByteSet line_end_{"\n"};
  std::string text_;
  int64_t row_ = 0;
};

// Splits the array into its elements by brackets and strings only; each element is then parsed for itself.
class JsonArrayReader final : public DatasetReader {
 public:
  JsonArrayReader(ByteSource source, const DatasetOptions& options) : source_(std::move(source)), options_(options) {}

  Result<std::optional<DatasetRow>> next() override {
    if (ended_) return std::optional<DatasetRow>();
    GRAFT_TRY(const bool more, to_next_element());
    if (!more) return std::optional<DatasetRow>();
    const int64_t line = source_.line();
    ++row_;
    GRAFT_CHECK_OK(read_element(line));
    GRAFT_TRY(DatasetRow row, parse_row(source_, row_, line, text_));
    return std::optional(std::move(row));
  }

 private:
  Error broken(const std::string& what) const {
    const std::string place = row_place(source_, row_, source_.line());
    if (!source_.status().ok()) return at(place, source_.status().error());
    return invalid(place + ": " + what);
  }

  void skip_space() {
    while (is_space(source_.peek())) source_.take();
  }

  // Takes what stands between two elements. False where the array ends.
  Result<bool> to_next_element() {
    skip_space();
    if (row_ == 0) {
      if (source_.take() != '[')
        return broken("a .json dataset must be one array of objects; for an object a line, name the file .jsonl");
      skip_space();
      if (source_.peek() != ']') return true;
      return finish();
    }
    if (source_.peek() == ']') return finish();
    if (source_.take() != ',') return broken("expected ',' or ']' after this row");
    skip_space();
    return true;
  }

  Result<bool> finish() {
    source_.take();
    skip_space();
    if (source_.peek() != ByteSource::kEnd || !source_.status().ok()) {
      return broken("unexpected text after the end of the array");
    }
    ended_ = true;
    return false;
  }

  // The text of one element into text_: up to a ',' or ']' outside strings and brackets.
  Status read_element(int64_t line) {
    text_.clear();
    size_t depth = 0;
    bool in_string = false;
    while (true) {
      const size_t room = options_.row_limit + 1 - text_.size();
      if (source_.take_until(in_string ? in_string_ : outside_, text_, room)) {
        return too_long(row_place(source_, row_, line), options_.row_limit);
      }
      const int byte = source_.peek();
      if (byte == ByteSource::kEnd) return broken("the file ends inside this row; it may be cut short");
      if (!in_string && depth == 0 && (byte == ',' || byte == ']')) return {};
      take_into_text();
      if (byte == '\\') {
        take_into_text();  // whatever is escaped
      } else if (byte == '"') {
        in_string = !in_string;
      } else if (byte == '{' || byte == '[') {
        ++depth;
      } else if (byte == '}' || byte == ']') {
        if (depth == 0) return broken("unexpected '}'");  // a ']' here ended the element above
        --depth;
      }
      if (text_.size() > options_.row_limit) return too_long(row_place(source_, row_, line), options_.row_limit);
    }
  }

  void take_into_text() {
    if (const int byte = source_.take(); byte != ByteSource::kEnd) text_ += static_cast<char>(byte);
  }

  ByteSource source_;
  DatasetOptions options_;
  ByteSet in_string_{"\"\\"};
  ByteSet outside_{"\"{}[],"};
  std::string text_;
  int64_t row_ = 0;
  bool ended_ = false;
};

}  // namespace

std::unique_ptr<DatasetReader> make_json_lines_reader(ByteSource source, const DatasetOptions& options) {
  return std::make_unique<JsonLinesReader>(std::move(source), options);
}

std::unique_ptr<DatasetReader> make_json_array_reader(ByteSource source, const DatasetOptions& options) {
  return std::make_unique<JsonArrayReader>(std::move(source), options);
}

}  // namespace graft::formats
