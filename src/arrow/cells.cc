#include "arrow/cells.h"

#include <arrow/array.h>
#include <arrow/extension_type.h>
#include <arrow/type.h>
#include <arrow/util/float16.h>
#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <string>
#include <string_view>

#include "base/strings.h"
#include "base/utf8.h"

namespace graft::arrow_library {
namespace {

using ::arrow::Type;
using Json = nlohmann::ordered_json;

template <class Array>
const Array& as(const ::arrow::Array& column) {
  return static_cast<const Array&>(column);
}

template <class Array>
Json integer(const ::arrow::Array& column, int64_t row) {
  const auto value = as<Array>(column).Value(row);
  if constexpr (std::is_signed_v<decltype(value)>) return static_cast<int64_t>(value);
  return static_cast<uint64_t>(value);
}

// NaN is what "missing" looks like in a column of floats.
Result<Json> number(double value) {
  if (std::isnan(value)) return Json();
  if (std::isinf(value)) return invalid("an infinite number; replace it, or make it null");
  return Json(value);
}

Result<Json> text(std::string_view bytes, size_t& room) {
  if (const auto bad = find_invalid_utf8(bytes)) {
    return invalid("byte " + std::to_string(*bad) +
                   " of the cell is not valid UTF-8; store text as strings, and leave out columns that hold no text");
  }
  if (bytes.size() > room) return invalid("the row is longer than the limit for one row");
  room -= bytes.size();
  return Json(std::string(bytes));
}

template <class Array>
Result<Json> string(const ::arrow::Array& column, int64_t row, size_t& room) {
  return text(as<Array>(column).GetView(row), room);
}

// ---- dates and times ----

int64_t per_second(::arrow::TimeUnit::type unit) {
  switch (unit) {
    case ::arrow::TimeUnit::SECOND:
      return 1;
    case ::arrow::TimeUnit::MILLI:
      return 1'000;
    case ::arrow::TimeUnit::MICRO:
      return 1'000'000;
    default:
      return 1'000'000'000;
  }
}

struct Parts {
  int64_t whole;
  int64_t rest;  // 0 <= rest < divisor, whatever the sign of what was divided
};

Parts divide(int64_t value, int64_t divisor) {
  Parts parts{value / divisor, value % divisor};
  if (parts.rest < 0) {
    --parts.whole;
    parts.rest += divisor;
  }
  return parts;
}

Result<std::string> date_text(int64_t days) {
  constexpr int64_t kLimit = 365 * 9000;  // years that ISO 8601 writes with four digits
  const std::chrono::year_month_day date{
      std::chrono::sys_days(std::chrono::days(std::abs(days) > kLimit ? 0 : static_cast<int>(days)))};
  const int year = static_cast<int>(date.year());
  if (std::abs(days) > kLimit || year < 1 || year > 9999) {
    return invalid("a date outside the years 1 to 9999 (day " + std::to_string(days) + " since 1970)");
  }
  return fmt::format("{:04}-{:02}-{:02}", year, static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()));
}

// "12:00:00", with as many digits behind the point as it takes.
std::string time_text(int64_t seconds, int64_t fraction, int64_t scale) {
  std::string out = fmt::format("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
  if (fraction == 0) return out;
  std::string digits = std::to_string(scale + fraction).substr(1);
  digits.erase(digits.find_last_not_of('0') + 1);
  return out + "." + digits;
}

Result<Json> time_of_day(int64_t value, ::arrow::TimeUnit::type unit) {
  const int64_t scale = per_second(unit);
  const Parts parts = divide(value, scale);
  if (parts.whole < 0 || parts.whole > 86400) return invalid("a time outside the day");
  return Json(time_text(parts.whole, parts.rest, scale));
}

Result<Json> timestamp(const ::arrow::Array& column, int64_t row) {
  const auto& type = static_cast<const ::arrow::TimestampType&>(*column.type());
  const int64_t scale = per_second(type.unit());
  const Parts seconds = divide(as<::arrow::TimestampArray>(column).Value(row), scale);
  const Parts days = divide(seconds.whole, 86400);
  GRAFT_TRY(const std::string date, date_text(days.whole));
  return Json(date + "T" + time_text(days.rest, seconds.rest, scale) + (type.timezone().empty() ? "" : "Z"));
}

Result<Json> date(int64_t days) {
  GRAFT_TRY(std::string text, date_text(days));
  return Json(std::move(text));
}

// ---- nested ----

template <class Array>
Result<Json> list(const ::arrow::Array& column, int64_t row, size_t& room) {
  const auto& lists = as<Array>(column);
  Json items = Json::array();
  const int64_t begin = lists.value_offset(row);
  for (int64_t i = 0; i < lists.value_length(row); ++i) {
    GRAFT_TRY(Json item, read_cell(*lists.values(), begin + i, room));
    items.push_back(std::move(item));
  }
  return items;
}

Result<Json> structure(const ::arrow::Array& column, int64_t row, size_t& room) {
  const auto& structs = as<::arrow::StructArray>(column);
  Json fields = Json::object();
  for (int i = 0; i < structs.num_fields(); ++i) {
    const std::string& name = structs.struct_type()->field(i)->name();
    if (!is_valid_utf8(name)) return invalid("a field's name is not valid UTF-8");
    if (fields.contains(name)) return invalid("the field '" + printable(name) + "' is named twice");
    GRAFT_TRY(Json value, read_cell(*structs.field(i), row, room));
    fields[name] = std::move(value);
  }
  return fields;
}

Result<Json> map(const ::arrow::Array& column, int64_t row, size_t& room) {
  const auto& maps = as<::arrow::MapArray>(column);
  Json entries = Json::object();
  for (int64_t i = maps.value_offset(row); i < maps.value_offset(row) + maps.value_length(row); ++i) {
    GRAFT_TRY(const Json key, read_cell(*maps.keys(), i, room));
    if (!key.is_string()) return unsupported("a map with keys that are not text");
    const auto& name = key.get_ref<const std::string&>();
    if (entries.contains(name)) return invalid("the key '" + printable(name) + "' is twice in a map");
    GRAFT_TRY(Json value, read_cell(*maps.items(), i, room));
    entries[name] = std::move(value);
  }
  return entries;
}

}  // namespace

Result<Json> read_cell(const ::arrow::Array& column, int64_t row, size_t& room) {
  if (column.IsNull(row)) return Json();
  switch (column.type_id()) {
    case Type::NA:
      return Json();
    case Type::BOOL:
      return Json(as<::arrow::BooleanArray>(column).Value(row));
    case Type::INT8:
      return integer<::arrow::Int8Array>(column, row);
    case Type::INT16:
      return integer<::arrow::Int16Array>(column, row);
    case Type::INT32:
      return integer<::arrow::Int32Array>(column, row);
    case Type::INT64:
      return integer<::arrow::Int64Array>(column, row);
    case Type::UINT8:
      return integer<::arrow::UInt8Array>(column, row);
    case Type::UINT16:
      return integer<::arrow::UInt16Array>(column, row);
    case Type::UINT32:
      return integer<::arrow::UInt32Array>(column, row);
    case Type::UINT64:
      return integer<::arrow::UInt64Array>(column, row);
    case Type::HALF_FLOAT:
      return number(::arrow::util::Float16::FromBits(as<::arrow::HalfFloatArray>(column).Value(row)).ToDouble());
    case Type::FLOAT:
      return number(as<::arrow::FloatArray>(column).Value(row));
    case Type::DOUBLE:
      return number(as<::arrow::DoubleArray>(column).Value(row));
    case Type::STRING:
      return string<::arrow::StringArray>(column, row, room);
    case Type::LARGE_STRING:
      return string<::arrow::LargeStringArray>(column, row, room);
    case Type::STRING_VIEW:
      return string<::arrow::StringViewArray>(column, row, room);
    case Type::BINARY:
      return string<::arrow::BinaryArray>(column, row, room);
    case Type::LARGE_BINARY:
      return string<::arrow::LargeBinaryArray>(column, row, room);
    case Type::BINARY_VIEW:
      return string<::arrow::BinaryViewArray>(column, row, room);
    case Type::FIXED_SIZE_BINARY:
      return string<::arrow::FixedSizeBinaryArray>(column, row, room);
    case Type::DECIMAL32:
      return Json(as<::arrow::Decimal32Array>(column).FormatValue(row));
    case Type::DECIMAL64:
      return Json(as<::arrow::Decimal64Array>(column).FormatValue(row));
    case Type::DECIMAL128:
      return Json(as<::arrow::Decimal128Array>(column).FormatValue(row));
    case Type::DECIMAL256:
      return Json(as<::arrow::Decimal256Array>(column).FormatValue(row));
    case Type::DATE32:
      return date(as<::arrow::Date32Array>(column).Value(row));
    case Type::DATE64:
      return date(divide(as<::arrow::Date64Array>(column).Value(row), 86'400'000).whole);
    case Type::TIME32:
      return time_of_day(as<::arrow::Time32Array>(column).Value(row),
                         static_cast<const ::arrow::Time32Type&>(*column.type()).unit());
    case Type::TIME64:
      return time_of_day(as<::arrow::Time64Array>(column).Value(row),
                         static_cast<const ::arrow::Time64Type&>(*column.type()).unit());
    case Type::TIMESTAMP:
      return timestamp(column, row);
    case Type::LIST:
      return list<::arrow::ListArray>(column, row, room);
    case Type::LARGE_LIST:
      return list<::arrow::LargeListArray>(column, row, room);
    case Type::LIST_VIEW:
      return list<::arrow::ListViewArray>(column, row, room);
    case Type::LARGE_LIST_VIEW:
      return list<::arrow::LargeListViewArray>(column, row, room);
    case Type::FIXED_SIZE_LIST:
      return list<::arrow::FixedSizeListArray>(column, row, room);
    case Type::STRUCT:
      return structure(column, row, room);
    case Type::MAP:
      return map(column, row, room);
    case Type::DICTIONARY: {
      const auto& dictionary = as<::arrow::DictionaryArray>(column);
      return read_cell(*dictionary.dictionary(), dictionary.GetValueIndex(row), room);
    }
    case Type::EXTENSION:
      return read_cell(*as<::arrow::ExtensionArray>(column).storage(), row, room);
    default:
      return unsupported("cells of the type " + printable(column.type()->ToString(), 80) +
                         "; store them as text or numbers");
  }
}

}  // namespace graft::arrow_library
