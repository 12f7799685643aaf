#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "formats/xlsx_dates.h"
#include "formats/zip.h"

namespace graft::formats {

// The texts of xl/sharedStrings.xml one after the other.
class XlsxStrings {
 public:
  Status add(std::string_view text);  // an error beyond 512 MiB or 2^26 texts in all
  [[nodiscard]] size_t size() const { return ends_.size(); }
  [[nodiscard]] std::string_view operator[](size_t i) const {
    const size_t begin = i == 0 ? 0 : ends_[i - 1];
    return std::string_view(bytes_).substr(begin, ends_[i] - begin);
  }

 private:
  std::string bytes_;
  std::vector<uint32_t> ends_;
};

// What the rows of one sheet need of the workbook around it.
struct XlsxWorkbook {
  const ZipEntry* sheet = nullptr;  // its XML
  std::string sheet_name;
  bool from_1904 = false;
  XlsxStrings strings;
  std::vector<XlsxFormat> styles;  // by a cell's attribute s
};

// `sheet`: its name; empty: the first one.
Result<XlsxWorkbook> read_xlsx_workbook(const ZipArchive& archive, const std::string& sheet);

// "_x000D_" stands for a character that XML cannot hold (ISO/IEC 29500-1, 22.9.2.19).
std::string xlsx_unescape(std::string text);

}  // namespace graft::formats
