#include "text/jinja/python_text.h"

#include <utf8proc.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <span>

#include "text/jinja/failure.h"
#include "text/jinja/limits.h"
#include "text/jinja/text_predicates.h"
#include "text/jinja/value.h"
#include "text/unicode/char_class.h"
#include "text/unicode/code_points.h"
#include "text/unicode/special_casing.h"

namespace graft::text::jinja {
namespace {

utf8proc_int32_t signed_point(char32_t c) { return static_cast<utf8proc_int32_t>(c); }

bool is_in(std::span<const CodePointRange> ranges, char32_t c) {
  const auto next = std::upper_bound(ranges.begin(), ranges.end(), c,
                                     [](char32_t value, const CodePointRange& range) { return value < range.low; });
  return next != ranges.begin() && c <= (next - 1)->high;
}

bool is_cased(char32_t c) { return is_in(cased_ranges(), c); }

// Characters that do not end a word when its last letter is looked for.
bool is_case_ignorable(char32_t c) { return is_in(case_ignorable_ranges(), c); }

void append_special(std::span<const SpecialCasing> table, char32_t c, char32_t simple, std::string& out) {
  const auto found = std::lower_bound(
      table.begin(), table.end(), c, [](const SpecialCasing& entry, char32_t letter) { return entry.letter < letter; });
  if (found == table.end() || found->letter != c) return append_utf8(out, simple);
  for (const char32_t part : found->becomes) {
    if (part != 0) append_utf8(out, part);
  }
}

void append_upper(char32_t c, std::string& out) {
  append_special(special_upper(), c, static_cast<char32_t>(utf8proc_toupper(signed_point(c))), out);
}

void append_title(char32_t c, std::string& out) {
  append_special(special_title(), c, static_cast<char32_t>(utf8proc_totitle(signed_point(c))), out);
}

// A capital sigma at the end of a word has a small letter of its own (Unicode, table 3-17).
bool is_final_sigma(std::string_view text, size_t at) {
  size_t before = at;
  while (before > 0 && is_case_ignorable(code_point_before(text, before).value)) {
    before -= code_point_before(text, before).size;
  }
  if (before == 0 || !is_cased(code_point_before(text, before).value)) return false;
  size_t after = at + 2;
  while (after < text.size() && is_case_ignorable(code_point_at(text, after).value)) {
    after += code_point_at(text, after).size;
  }
  return after >= text.size() || !is_cased(code_point_at(text, after).value);
}

// Turns the characters of one text into small letters, in order.
class Lowering {
 public:
  explicit Lowering(std::string_view text) : text_(text) {}
  void append(char32_t c, std::string& out) {
    if (c == 0x3A3) {
      append_utf8(out, is_final_sigma(text_, at_) ? 0x3C2 : 0x3C3);
    } else if (c == 0x130) {  // the only letter that becomes two
      out += "i\xCC\x87";
    } else {
      append_utf8(out, static_cast<char32_t>(utf8proc_tolower(signed_point(c))));
    }
    skip(c);
  }
  void skip(char32_t c) { at_ += c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4; }

 private:
  std::string_view text_;
  size_t at_ = 0;
};

void append_escaped(char32_t c, char quote, std::string& out) {
  char code[16];
  if (c == '\\' || c == static_cast<char32_t>(quote)) {
    out += '\\';
    append_utf8(out, c);
  } else if (c == '\n' || c == '\r' || c == '\t') {
    out += c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t";
  } else if (is_printable_character(c)) {
    append_utf8(out, c);
  } else {
    const char* format = c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x";
    std::snprintf(code, sizeof code, format, static_cast<unsigned>(c));
    out += code;
  }
}

}  // namespace

bool is_python_space(char32_t c) { return (c >= 0x1C && c <= 0x1F) || CharClasses::get().is(c, kSpace); }

MarkedText strip(const MarkedText& text, Side side, const std::string* characters) {
  const std::string& bytes = text.bytes();
  const auto strips = [&](char32_t c) {
    if (characters == nullptr) return is_python_space(c);
    std::string one;
    append_utf8(one, c);
    return characters->find(one) != std::string::npos;  // UTF-8 keeps characters apart
  };
  size_t begin = 0;
  size_t end = bytes.size();
  if (side != Side::kRight) {
    while (begin < end && strips(code_point_at(bytes, begin).value)) begin += code_point_at(bytes, begin).size;
  }
  if (side != Side::kLeft) {
    while (begin < end && strips(code_point_before(bytes, end).value)) end -= code_point_before(bytes, end).size;
  }
  return text.slice(begin, end);
}

MarkedText upper(const MarkedText& text) { return text.map_characters(append_upper); }

MarkedText lower(const MarkedText& text) {
  Lowering lowering(text.bytes());
  return text.map_characters([&](char32_t c, std::string& out) { lowering.append(c, out); });
}

MarkedText title(const MarkedText& text) {
  Lowering lowering(text.bytes());
  bool inside_word = false;
  return text.map_characters([&](char32_t c, std::string& out) {
    if (inside_word) {
      lowering.append(c, out);
    } else {
      append_title(c, out);
      lowering.skip(c);
    }
    inside_word = is_cased(c);
  });
}

MarkedText capitalize(const MarkedText& text) {
  Lowering lowering(text.bytes());
  bool first = true;
  return text.map_characters([&](char32_t c, std::string& out) {
    if (first) {
      append_title(c, out);
      lowering.skip(c);
    } else {
      lowering.append(c, out);
    }
    first = false;
  });
}

MarkedText swap_case(const MarkedText& text) {
  Lowering lowering(text.bytes());
  return text.map_characters([&](char32_t c, std::string& out) {
    if (is_upper_character(c)) return lowering.append(c, out);
    if (is_lower_character(c)) {
      append_upper(c, out);
    } else {
      append_utf8(out, c);
    }
    lowering.skip(c);
  });
}

MarkedText case_fold(const MarkedText& text) {
  return text.map_characters([](char32_t c, std::string& out) {
    utf8proc_int32_t folded[8];
    int boundary = 0;
    const auto count = utf8proc_decompose_char(signed_point(c), folded, 8, UTF8PROC_CASEFOLD, &boundary);
    for (utf8proc_ssize_t i = 0; i < count; ++i) append_utf8(out, static_cast<char32_t>(folded[i]));
  });
}

size_t character_count(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) { return !is_continuation(c); }));
}

size_t byte_offset(std::string_view text, size_t character) {
  size_t i = 0;
  for (; character > 0 && i < text.size(); --character) i += code_point_at(text, i).size;
  return i;
}

MarkedText string_repr(const MarkedText& text) {
  const bool has_single = text.bytes().find('\'') != std::string::npos;
  const bool has_double = text.bytes().find('"') != std::string::npos;
  const char quote = has_single && !has_double ? '"' : '\'';
  MarkedText repr;
  repr.append(std::string_view(&quote, 1));
  repr.append(text.map_characters([&](char32_t c, std::string& out) { append_escaped(c, quote, out); }));
  repr.append(std::string_view(&quote, 1));
  return repr;
}

std::string quoted(std::string_view name) { return string_repr(MarkedText(std::string(name))).bytes(); }

// The shortest digits that read back as the same number; an exponent below 1e-4 and from 1e16 on.
std::string float_repr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char buffer[64];
  const double size = std::fabs(value);
  const auto form =
      size != 0.0 && (size < 1e-4 || size >= 1e16) ? std::chars_format::scientific : std::chars_format::fixed;
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value, form);
  std::string text(buffer, end.ptr);
  if (form == std::chars_format::fixed && text.find('.') == std::string::npos) text += ".0";
  return text;
}

namespace {

// repr(), bounded: namespaces can hold each other, and what is shared prints anew each time.
class Printer {
 public:
  void value(const Value& value) {
    if (out.size() > kLargestString) fail("a value prints as more than " + std::to_string(kLargestString) + " bytes");
    if (const MarkedText* text = value.as_text()) {
      if (text->safe()) out.append("Markup(");
      out.append(string_repr(*text));
      if (text->safe()) out.append(")");
      return;
    }
    if (const List* list = value.as_list()) {
      const char* again = list->is_tuple ? "(...)" : "[...]";
      return once(list, again, [&] { items(*list); });
    }
    if (const Dict* dict = value.as_dict()) return once(dict, "{...}", [&] { items(dict->items); });
    if (const Namespace* held = value.as_namespace()) {
      if (held->is_cycler()) return out.append("<Cycler>");
      return once(held, "<Namespace {...}>", [&] { items(*held); });
    }
    if (value.is_none()) return out.append("None");
    if (value.is_undefined()) return out.append("Undefined");
    if (const bool* v = value.as_bool()) return out.append(*v ? "True" : "False");
    if (const int64_t* v = value.as_integer()) return out.append(std::to_string(*v));
    if (const double* v = value.as_float()) return out.append(float_repr(*v));
    if (const Loop* loop = value.as_loop()) {
      return out.append("<LoopContext " + std::to_string(loop->index0 + 1) + "/" +
                        std::to_string(loop->state->items->items.size()) + ">");
    }
    if (const Callable* callable = value.as_callable(); callable != nullptr && !callable->attributes.empty()) {
      const MarkedText* name = callable->attributes.front().second.as_text();  // of a macro
      out.append("<Macro ");
      out.append(name != nullptr ? string_repr(*name) : MarkedText("anonymous"));
      return out.append(">");
    }
    out.append("<" + std::string(value.type_name()) + ">");
  }

  MarkedText out;

 private:
  void items(const List& list) {
    if (list.is_range()) {
      const auto& [start, stop, step] = list.bounds;
      out.append("range(" + std::to_string(start) + ", " + std::to_string(stop));
      return out.append(step != 1 ? ", " + std::to_string(step) + ")" : ")");
    }
    if (list.is_generator()) return out.append("<generator object>");
    if (list.view != nullptr) out.append(std::string(list.view) + "(");
    out.append(list.is_tuple ? "(" : "[");
    for (size_t i = 0; i < list.items.size(); ++i) {
      if (i > 0) out.append(", ");
      value(list.items[i]);
    }
    if (list.is_tuple && list.items.size() == 1) out.append(",");
    out.append(list.is_tuple ? ")" : "]");
    if (list.view != nullptr) out.append(")");
  }

  void items(const std::vector<std::pair<Value, Value>>& pairs) {
    out.append("{");
    for (size_t i = 0; i < pairs.size(); ++i) {
      if (i > 0) out.append(", ");
      value(pairs[i].first);
      out.append(": ");
      value(pairs[i].second);
    }
    out.append("}");
  }

  // What is being printed already, through a namespace that holds it, is cut short.
  template <class Print>
  void once(const void* object, const char* again, Print print) {
    if (std::find(open_.begin(), open_.end(), object) != open_.end()) return out.append(again);
    if (open_.size() > kMostOpen) fail("values nested deeper than " + std::to_string(kMostOpen) + " levels");
    open_.push_back(object);
    print();
    open_.pop_back();
  }

  void items(const Namespace& held) {
    std::vector<std::pair<Value, Value>> pairs;
    for (const auto& [name, variable] : held.variables) pairs.emplace_back(Value::text(name), variable);
    out.append("<Namespace ");
    items(pairs);
    out.append(">");
  }

  static constexpr size_t kMostOpen = 3 * kDeepestValue;
  std::vector<const void*> open_;
};

}  // namespace

MarkedText to_repr(const Value& value) {
  Printer printer;
  printer.value(value);
  return std::move(printer.out);
}

MarkedText to_text(const Value& value) {
  if (const MarkedText* text = value.as_text()) return *text;
  if (value.is_undefined()) return {};
  return to_repr(value);
}

}  // namespace graft::text::jinja
