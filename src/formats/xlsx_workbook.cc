#include "formats/xlsx_workbook.h"

#include <charconv>
#include <filesystem>
#include <map>
#include <optional>

#include "base/strings.h"
#include "base/utf8.h"
#include "formats/xml_parser.h"

namespace graft::formats {
namespace {

// Relationships of a part: id -> target and kind (the last word of the type's address).
struct Relations final : XmlParser {
  struct Target {
    std::string kind;
    std::string path;
  };

  explicit Relations(std::filesystem::path folder) : folder_(std::move(folder)) {}

  void start(std::string_view name, const XmlAttributes& attributes) override {
    if (name != "Relationship" || attributes.get("TargetMode") == "External") return;
    const std::string_view type = attributes.get("Type");
    const std::string target(attributes.get("Target"));
    const auto path = target.starts_with('/') ? std::filesystem::path(target.substr(1)) : folder_ / target;
    by_id[std::string(attributes.get("Id"))] = {std::string(type.substr(type.rfind('/') + 1)),
                                                path.lexically_normal().string()};
  }
  void end(std::string_view /*name*/) override {}

  [[nodiscard]] std::optional<std::string> first(std::string_view kind) const {
    for (const auto& [id, target] : by_id) {
      if (target.kind == kind) return target.path;
    }
    return std::nullopt;
  }

  std::map<std::string, Target> by_id;

 private:
  std::filesystem::path folder_;
};

struct Book final : XmlParser {
  void start(std::string_view name, const XmlAttributes& attributes) override {
    if (name == "workbookPr") {
      const std::string_view flag = attributes.get("date1904");
      from_1904 = flag == "1" || flag == "true";
    } else if (name == "sheet") {
      sheets.emplace_back(attributes.get("name"), attributes.get("id"));
    }
  }
  void end(std::string_view /*name*/) override {}

  bool from_1904 = false;
  std::vector<std::pair<std::string, std::string>> sheets;  // name, id of its relationship
};

struct Styles final : XmlParser {
  void start(std::string_view name, const XmlAttributes& attributes) override {
    if (name == "numFmt") {
      custom_[number(attributes.get("numFmtId"))] = xlsx_format(attributes.get("formatCode"));
    } else if (name == "cellXfs") {
      inside_ = true;
    } else if (name == "xf" && inside_) {
      const int id = number(attributes.get("numFmtId"));
      const auto found = custom_.find(id);
      formats.push_back(found == custom_.end() ? xlsx_builtin_format(id) : found->second);
    }
  }
  void end(std::string_view name) override {
    if (name == "cellXfs") inside_ = false;
  }

  std::vector<XlsxFormat> formats;

 private:
  static int number(std::string_view text) {
    int value = 0;
    std::from_chars(text.data(), text.data() + text.size(), value);
    return value;
  }

  std::map<int, XlsxFormat> custom_;
  bool inside_ = false;
};

// Text in runs (<si><r><t>) is put together; phonetic hints (<rPh>) are left out.
struct SharedStrings final : XmlParser {
  explicit SharedStrings(XlsxStrings& strings) : strings_(strings) {}

  void start(std::string_view name, const XmlAttributes& /*attributes*/) override {
    if (name == "si") text_.clear();
    if (name == "rPh") phonetic_ = true;
    if (name == "t") inside_ = !phonetic_;
  }
  void end(std::string_view name) override {
    if (name == "rPh") phonetic_ = false;
    if (name == "t") inside_ = false;
    if (name != "si") return;
    if (const Status added = strings_.add(xlsx_unescape(std::move(text_))); !added.ok()) fail(added.error());
    text_.clear();
  }
  void text(std::string_view piece) override {
    if (inside_) text_ += piece;
  }

 private:
  XlsxStrings& strings_;
  std::string text_;
  bool inside_ = false;
  bool phonetic_ = false;
};

Result<const ZipEntry*> find_part(const ZipArchive& archive, const std::string& name) {
  const ZipEntry* entry = archive.find(name);
  if (entry == nullptr) return invalid("no workbook: the part '" + printable(name) + "' is missing from the archive");
  return entry;
}

// "xl/workbook.xml" -> "xl/_rels/workbook.xml.rels"
std::string relations_of(const std::filesystem::path& part) {
  return (part.parent_path() / "_rels" / (part.filename().string() + ".rels")).string();
}

Result<size_t> pick_sheet(const Book& book, const Relations& relations, const std::string& wanted) {
  std::vector<std::string> names;
  for (size_t i = 0; i < book.sheets.size(); ++i) {
    const auto& [name, id] = book.sheets[i];
    const auto target = relations.by_id.find(id);
    if (target == relations.by_id.end() || target->second.kind != "worksheet") continue;  // a chart
    if (wanted.empty() || name == wanted) return i;
    names.push_back(name);
  }
  if (wanted.empty()) return invalid("the workbook has no sheet with cells");
  return not_found("no sheet '" + printable(wanted) + "' in the workbook" + suggestion(wanted, names));
}

}  // namespace

Status XlsxStrings::add(std::string_view text) {
  if (bytes_.size() + text.size() > size_t{512} << 20 || ends_.size() >= size_t{1} << 26) {
    return unsupported("the workbook holds over 512 MiB of different texts; save the sheet as .csv");
  }
  bytes_ += text;
  ends_.push_back(static_cast<uint32_t>(bytes_.size()));
  return {};
}

std::string xlsx_unescape(std::string text) {
  size_t at = text.find("_x");
  if (at == std::string::npos) return text;
  std::string out;
  size_t copied = 0;
  for (; at != std::string::npos; at = text.find("_x", at)) {
    uint32_t code = 0;
    const char* digits = text.data() + at + 2;
    const bool whole =
        at + 7 <= text.size() && text[at + 6] == '_' && std::from_chars(digits, digits + 4, code, 16).ptr == digits + 4;
    if (!whole || (code >= 0xD800 && code <= 0xDFFF)) {
      at += 2;
      continue;
    }
    out.append(text, copied, at - copied);
    append_utf8(out, code);
    at += 7;
    copied = at;
  }
  out.append(text, copied);
  return out;
}

Result<XlsxWorkbook> read_xlsx_workbook(const ZipArchive& archive, const std::string& sheet) {
  Relations root{""};
  GRAFT_TRY(const ZipEntry* root_entry, find_part(archive, "_rels/.rels"));
  GRAFT_CHECK_OK(parse_zip_entry(*root_entry, root));
  const std::string book_path = root.first("officeDocument").value_or("xl/workbook.xml");

  Book book;
  GRAFT_TRY(const ZipEntry* book_entry, find_part(archive, book_path));
  GRAFT_CHECK_OK(parse_zip_entry(*book_entry, book));
  Relations relations{std::filesystem::path(book_path).parent_path()};
  GRAFT_TRY(const ZipEntry* relations_entry, find_part(archive, relations_of(book_path)));
  GRAFT_CHECK_OK(parse_zip_entry(*relations_entry, relations));

  XlsxWorkbook workbook;
  workbook.from_1904 = book.from_1904;
  GRAFT_TRY(const size_t which, pick_sheet(book, relations, sheet));
  workbook.sheet_name = book.sheets[which].first;
  GRAFT_TRY(workbook.sheet, find_part(archive, relations.by_id.at(book.sheets[which].second).path));
  if (const auto path = relations.first("styles")) {
    Styles styles;
    GRAFT_TRY(const ZipEntry* entry, find_part(archive, *path));
    GRAFT_CHECK_OK(parse_zip_entry(*entry, styles));
    workbook.styles = std::move(styles.formats);
  }
  if (const auto path = relations.first("sharedStrings")) {
    SharedStrings strings(workbook.strings);
    GRAFT_TRY(const ZipEntry* entry, find_part(archive, *path));
    GRAFT_CHECK_OK(parse_zip_entry(*entry, strings));
  }
  return workbook;
}

}  // namespace graft::formats
