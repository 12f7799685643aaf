#include "text/jinja/json_text.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/utf8.h"
#include "text/jinja/failure.h"
#include "text/unicode/code_points.h"

namespace graft::text::jinja {
namespace {

void append_unit(char32_t unit, std::string& out) {
  static constexpr std::string_view kDigits = "0123456789abcdef";
  out += "\\u";
  for (const unsigned shift : {12U, 8U, 4U, 0U}) out += kDigits[(unit >> shift) & 0xF];
}

void append_character(char32_t c, bool ensure_ascii, std::string& out) {
  static constexpr std::string_view kFrom = "\"\\\n\r\t\f\b";
  static constexpr std::string_view kTo = "\"\\nrtfb";
  if (c < 0x80) {
    if (const size_t at = kFrom.find(static_cast<char>(c)); at != std::string_view::npos) {
      out += '\\';
      out += kTo[at];
      return;
    }
  }
  if (c < 0x20 || (ensure_ascii && c >= 0x7F && c < 0x10000)) {
    append_unit(c, out);
  } else if (ensure_ascii && c >= 0x10000) {
    append_unit(0xD800 + ((c - 0x10000) >> 10), out);
    append_unit(0xDC00 + ((c - 0x10000) & 0x3FF), out);
  } else {
    append_utf8(out, c);
  }
}

class Writer {
 public:
  Writer(Evaluator& evaluator, const JsonStyle& style) : evaluator_(evaluator), style_(style) {}

  MarkedText run(const Value& value) {
    write(value, 0);
    return std::move(out_);
  }

 private:
  void write(const Value& value, int level) {
    evaluator_.budget.step();
    if (out_.size() > kLargestString) evaluator_.budget.made(out_.size());
    if (const MarkedText* text = value.as_text()) return string(*text);
    if (const List* list = value.as_list(); list != nullptr && list->view == nullptr) return write_list(*list, level);
    if (const Dict* dict = value.as_dict()) return write_dict(*dict, level);
    if (value.is_none()) return out_.append("null");
    if (const bool* v = value.as_bool()) return out_.append(*v ? "true" : "false");
    if (const int64_t* v = value.as_integer()) return out_.append(std::to_string(*v));
    if (const double* v = value.as_float()) return out_.append(number(*v));
    fail("Object of type " + std::string(value.type_name()) + " is not JSON serializable");
  }

  static std::string number(double v) {
    if (std::isnan(v)) return "NaN";
    if (std::isinf(v)) return v > 0 ? "Infinity" : "-Infinity";
    return float_repr(v);
  }

  void string(const MarkedText& text) {
    out_.append("\"");
    out_.append(
        text.map_characters([&](char32_t c, std::string& out) { append_character(c, style_.ensure_ascii, out); }));
    out_.append("\"");
  }

  void new_line(int level) {
    if (!style_.indent.has_value()) return;
    out_.append("\n");
    for (int i = 0; i < level; ++i) out_.append(*style_.indent);
  }

  void write_list(const List& list, int level) {
    if (list.items.empty()) return out_.append("[]");
    out_.append("[");
    for (size_t i = 0; i < list.items.size(); ++i) {
      if (i > 0) out_.append(style_.item_separator);
      new_line(level + 1);
      write(list.items[i], level + 1);
    }
    new_line(level);
    out_.append("]");
  }

  void write_dict(const Dict& dict, int level) {
    if (dict.items.empty()) return out_.append("{}");
    std::vector<const std::pair<Value, Value>*> items;
    for (const auto& item : dict.items) items.push_back(&item);
    if (style_.sort_keys) {
      std::stable_sort(items.begin(), items.end(),
                       [](const auto* a, const auto* b) { return compare(a->first, b->first) < 0; });
    }
    out_.append("{");
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) out_.append(style_.item_separator);
      new_line(level + 1);
      key(items[i]->first);
      out_.append(style_.key_separator);
      write(items[i]->second, level + 1);
    }
    new_line(level);
    out_.append("}");
  }

  void key(const Value& key) {
    if (const MarkedText* text = key.as_text()) return string(*text);
    if (key.as_list() != nullptr) fail("keys must be str, int, float, bool or None, not tuple");
    out_.append("\"");
    write(key, 0);
    out_.append("\"");
  }

  Evaluator& evaluator_;
  const JsonStyle& style_;
  MarkedText out_;
};

Value convert(const nlohmann::ordered_json& json, bool marked, int depth) {
  if (depth > kDeepestValue) fail("values nested deeper than " + std::to_string(kDeepestValue) + " levels");
  const auto string = [&](const std::string& text) {
    if (!is_valid_utf8(text)) fail("a string is not valid UTF-8");
    return Value(MarkedText(text, marked));
  };
  switch (json.type()) {
    case nlohmann::ordered_json::value_t::boolean:
      return json.get<bool>();
    case nlohmann::ordered_json::value_t::number_unsigned:
      if (json.get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
        fail("the number " + json.dump() + " does not fit 64 bits");
      }
      return json.get<int64_t>();
    case nlohmann::ordered_json::value_t::number_integer:
      return json.get<int64_t>();
    case nlohmann::ordered_json::value_t::number_float:
      return json.get<double>();
    case nlohmann::ordered_json::value_t::string:
      return string(json.get_ref<const std::string&>());
    case nlohmann::ordered_json::value_t::array: {
      std::vector<Value> items;
      for (const auto& item : json) items.push_back(convert(item, marked, depth + 1));
      return Value::list(std::move(items));
    }
    case nlohmann::ordered_json::value_t::object: {
      std::vector<std::pair<Value, Value>> items;
      for (const auto& item : json.items()) {
        items.emplace_back(string(item.key()), convert(item.value(), marked, depth + 1));
      }
      return Value::dict(std::move(items));
    }
    default:
      return {};
  }
}

}  // namespace

MarkedText to_json(Evaluator& evaluator, const Value& value, const JsonStyle& style) {
  return Writer(evaluator, style).run(value);
}

Value from_json(const nlohmann::ordered_json& json, bool marked) { return convert(json, marked, 0); }

}  // namespace graft::text::jinja
