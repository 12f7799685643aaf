#include "formats/xlsx_dates.h"

#include <fmt/format.h>

#include <cctype>
#include <chrono>
#include <cmath>

namespace graft::formats {
namespace {

// The letters of the first section that mean something: without literals, colours, conditions and padding. An elapsed
// part such as "[hh]" leaves '#'.
std::string letters_of(std::string_view code) {
  std::string letters;
  for (size_t i = 0; i < code.size() && code[i] != ';'; ++i) {
    const char c = code[i];
    if (c == '\\' || c == '_' || c == '*') {
      ++i;
    } else if (c == '"' || c == '[') {
      const size_t close = code.find(c == '"' ? '"' : ']', i + 1);
      if (close == std::string_view::npos) break;
      const std::string_view inner = code.substr(i + 1, close - i - 1);
      if (c == '[' && !inner.empty() && inner.find_first_not_of("hHmMsS") == std::string_view::npos) letters += '#';
      i = close;
    } else {
      letters += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    }
  }
  return letters;
}

}  // namespace

XlsxFormat xlsx_format(std::string_view code) {
  const std::string letters = letters_of(code);
  if (letters == "general") return XlsxFormat::kNumber;
  const auto has = [&](std::string_view any) { return letters.find_first_of(any) != std::string::npos; };
  if (has("#") && has("hms:")) return XlsxFormat::kNumber;  // elapsed
  const bool time = has("hs");
  const bool date = has("dy") || (has("m") && !time);
  if (date && time) return XlsxFormat::kDateTime;
  if (date) return XlsxFormat::kDate;
  return time ? XlsxFormat::kTime : XlsxFormat::kNumber;
}

XlsxFormat xlsx_builtin_format(int id) {
  const auto within = [id](int first, int last) { return id >= first && id <= last; };
  if (id == 22) return XlsxFormat::kDateTime;
  if (within(18, 21) || within(32, 33) || id == 45 || id == 47 || within(55, 56)) return XlsxFormat::kTime;
  if (within(14, 17) || within(27, 31) || within(34, 36) || within(50, 54) || within(57, 58)) return XlsxFormat::kDate;
  return XlsxFormat::kNumber;
}

Result<std::string> xlsx_date(double days, XlsxFormat format, bool from_1904) {
  constexpr double kLast = 2958466;  // 1 January 10000, counted from 1900
  if (!(days >= 0) || days + (from_1904 ? 1462 : 0) >= kLast) {
    return invalid("a date outside the years 1900 to 9999");
  }
  constexpr int64_t kDay = 86'400'000;
  const auto milliseconds = static_cast<int64_t>(std::llround(days * static_cast<double>(kDay)));
  int64_t day = milliseconds / kDay;
  const int64_t clock = milliseconds % kDay;
  std::string time = fmt::format("{:02}:{:02}:{:02}", clock / 3'600'000, clock / 60'000 % 60, clock / 1000 % 60);
  if (clock % 1000 != 0) {
    time += fmt::format(".{:03}", clock % 1000);
    time.erase(time.find_last_not_of('0') + 1);
  }
  if (format == XlsxFormat::kTime && day == 0) return time;
  // Counted from 1900, day 60 is 29 February 1900, which never was: days before it are one further from the epoch.
  using std::chrono::sys_days;
  constexpr sys_days kEpoch1900 = std::chrono::year(1899) / 12 / 30;
  constexpr sys_days kEpoch1904 = std::chrono::year(1904) / 1 / 1;
  if (!from_1904 && day < 60) ++day;
  const std::chrono::year_month_day date((from_1904 ? kEpoch1904 : kEpoch1900) + std::chrono::days(day));
  std::string text = fmt::format("{:04}-{:02}-{:02}", static_cast<int>(date.year()),
                                 static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()));
  if (format == XlsxFormat::kDate && clock == 0) return text;
  return text + "T" + time;
}

}  // namespace graft::formats
