#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

// Dates in workbooks (ISO/IEC 29500-1, 18.17.4 and 18.8.30): days since an epoch, shown as dates by a number format.
namespace graft::formats {

enum class XlsxFormat : unsigned char { kNumber, kDate, kTime, kDateTime };

// What a number format makes of a number. An elapsed time ("[h]:mm") is a number.
XlsxFormat xlsx_format(std::string_view code);
XlsxFormat xlsx_builtin_format(int id);  // of the formats that files name by number only

// "2026-01-31", "12:00:00" or "2026-01-31T12:00:00.25" (to the millisecond, as spreadsheets do): what `format` shows,
// and the other half too where the number has one. `from_1904`: the workbook counts from 1904.
Result<std::string> xlsx_date(double days, XlsxFormat format, bool from_1904);

}  // namespace graft::formats
