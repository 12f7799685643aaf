#include <string>
#include <string_view>

#include "formats/dataset_readers.h"

namespace graft::formats {
namespace {

bool is_space(int byte) { return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n'; }

Error too_long(const std::string& place, size_t limit) {
  return invalid(place + ": longer than the limit of " + std::to_string(limit) + " bytes a row");
}

class JsonLinesReader final : public DatasetReader {
 public:
  JsonLinesReader(ByteSource source, const DatasetOptions& options) : source_(std::move(source)), options_(options) {}

  Result<std::optional<DatasetRow>> next() override {
    std::string text;
    while (source_.peek() != ByteSource::kEnd) {
      const int64_t line = source_.line();
      text.clear();
      bool blank = true;
      for (int byte = source_.take(); byte != ByteSource::kEnd && byte != '\n'; byte = source_.take()) {
        blank = blank && is_space(byte);
        text += static_cast<char>(byte);
        if (text.size() > options_.row_limit) return too_long(row_place(source_, row_ + 1, line), options_.row_limit);
      }
      if (blank) continue;
      GRAFT_TRY(DatasetRow row, parse_json_row(source_, ++row_, line, text));
      return std::optional(std::move(row));
    }
    GRAFT_CHECK_OK(source_.status());
    return std::optional<DatasetRow>();
  }

 private:
  ByteSource source_;
  DatasetOptions options_;
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
    GRAFT_TRY(const std::string text, element(line));
    GRAFT_TRY(DatasetRow row, parse_json_row(source_, row_, line, text));
    return std::optional(std::move(row));
  }

 private:
  Error broken(const std::string& what) const {
    if (const Status status = source_.status(); !status.ok()) return status.error();
    return invalid(row_place(source_, row_, source_.line()) + ": " + what);
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
    if (source_.peek() != ByteSource::kEnd) return broken("unexpected text after the end of the array");
    GRAFT_CHECK_OK(source_.status());
    ended_ = true;
    return false;
  }

  // The text of one element: up to a ',' or ']' outside strings and brackets.
  Result<std::string> element(int64_t line) {
    std::string text;
    size_t depth = 0;
    bool in_string = false;
    bool escaped = false;
    while (true) {
      const int byte = source_.peek();
      if (byte == ByteSource::kEnd) return broken("the file ends inside this row; it may be cut short");
      if (!in_string && depth == 0 && (byte == ',' || byte == ']')) return text;
      text += static_cast<char>(source_.take());
      if (text.size() > options_.row_limit) return too_long(row_place(source_, row_, line), options_.row_limit);
      if (in_string) {
        in_string = escaped || byte != '"';
        escaped = !escaped && byte == '\\';
      } else if (byte == '"') {
        in_string = true;
      } else if (byte == '{' || byte == '[') {
        ++depth;
      } else if (byte == '}' || byte == ']') {
        if (depth == 0) return broken("unexpected '}'");  // a ']' here ended the element above
        --depth;
      }
    }
  }

  ByteSource source_;
  DatasetOptions options_;
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
