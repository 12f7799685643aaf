#include "text/jinja/format_text.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "text/jinja/failure.h"
#include "text/jinja/format_spec.h"
#include "text/jinja/python_text.h"
#include "text/unicode/code_points.h"

namespace graft::text::jinja {
namespace {

// repr() with what is not ASCII escaped.
MarkedText ascii_of(const Value& value) {
  return to_repr(value).map_characters([](char32_t c, std::string& out) {
    if (c < 0x80) return append_utf8(out, c);
    char code[16];
    const char* format = c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x";
    std::snprintf(code, sizeof code, format, static_cast<unsigned>(c));
    out += code;
  });
}

MarkedText converted(const Value& value, char conversion) {
  if (conversion == 'r') return to_repr(value);
  if (conversion == 'a') return ascii_of(value);
  if (conversion == 's') return to_text(value);
  fail(std::string("Unknown conversion specifier ") + conversion);
}

// One "%...": the values in the order that they are asked for.
class PercentFormatter {
 public:
  PercentFormatter(Evaluator& evaluator, const MarkedText& format, const Value& values)
      : evaluator_(evaluator), format_(format), bytes_(format.bytes()) {
    const List* list = values.as_list();
    if (list != nullptr && list->is_tuple) {
      values_ = list->items;
    } else {
      values_ = {values};
      // A mapping may be left unused, and so may a list: Python looks names up in them.
      may_be_left_ = values.as_dict() != nullptr || list != nullptr;
      mapping_ = values;
    }
  }

  MarkedText run() {
    MarkedText out;
    for (size_t i = 0; i < bytes_.size();) {
      const size_t sign = std::min(bytes_.find('%', i), bytes_.size());
      out.append_slice(format_, i, sign);
      if (sign == bytes_.size()) break;
      i = sign + 1;
      out.append(one(i));
      evaluator_.budget.step();
      if (out.size() > kLargestString) evaluator_.budget.made(out.size());
    }
    if (next_ < values_.size() && !may_be_left_) fail("not all arguments converted during string formatting");
    return out;
  }

 private:
  [[nodiscard]] char at(size_t i) const { return i < bytes_.size() ? bytes_[i] : '\0'; }

  const Value& take() {
    if (next_ >= values_.size()) fail("not enough arguments for format string");
    return values_[next_++];
  }

  int64_t number(size_t& i) {
    if (at(i) == '*') {
      ++i;
      const auto given = take().integer();
      if (!given.has_value()) fail("* wants int");
      if (*given > kWidestField || *given < -kWidestField) fail("a format's width is too large");
      return *given;
    }
    int64_t value = 0;
    for (; at(i) >= '0' && at(i) <= '9'; ++i) {
      value = value * 10 + (at(i) - '0');
      if (value > kWidestField) fail("a format's width or precision is too large");
    }
    return value;
  }

  // (name)
  Value named(size_t& i) {
    if (!mapping_.has_value() || mapping_->as_dict() == nullptr) fail("format requires a mapping");
    size_t depth = 1;
    const size_t begin = ++i;
    for (; i < bytes_.size(); ++i) {
      depth += at(i) == '(' ? 1 : 0;
      depth -= at(i) == ')' ? 1 : 0;
      if (depth == 0) break;
    }
    if (i >= bytes_.size()) fail("incomplete format key");
    const std::string_view name = std::string_view(bytes_).substr(begin, i - begin);
    ++i;
    const Value* found = mapping_->as_dict()->find(name);
    if (found == nullptr) fail("no value for the format key " + quoted(name));
    return *found;
  }

  MarkedText one(size_t& i) {
    std::optional<Value> by_name;
    if (at(i) == '(') by_name = named(i);
    FormatSpec spec;
    bool left = false;
    bool zeros = false;
    for (;; ++i) {
      if (at(i) == '-')
        left = true;
      else if (at(i) == '+')
        spec.sign = '+';
      else if (at(i) == ' ')
        spec.sign = spec.sign == '+' ? '+' : ' ';
      else if (at(i) == '#')
        spec.alternate = true;
      else if (at(i) == '0')
        zeros = true;
      else
        break;
    }
    spec.width = number(i);
    if (spec.width < 0) {
      left = true;
      spec.width = -spec.width;
    }
    if (at(i) == '.') {
      ++i;
      spec.precision = std::max<int64_t>(number(i), 0);
    }
    while (at(i) == 'l' || at(i) == 'h' || at(i) == 'L') ++i;
    if (i >= bytes_.size()) fail("incomplete format");
    spec.type = at(i++);
    if (spec.type == '%') return MarkedText("%");
    const Value value = by_name.has_value() ? *by_name : take();
    return formatted(value, spec, left, zeros);
  }

  MarkedText formatted(const Value& value, const FormatSpec& spec, bool left, bool zeros) {
    if (const Undefined* undefined = value.as_undefined();
        undefined != nullptr && spec.type != 's' && spec.type != 'r') {
      fail(*undefined->message);
    }
    switch (spec.type) {
      case 's':
      case 'r':
      case 'a': {
        MarkedText text = converted(value, spec.type);
        if (spec.precision.has_value()) {
          text = text.slice(0, byte_offset(text.bytes(), static_cast<size_t>(*spec.precision)));
        }
        return padded(text, " ", left ? '<' : '>', spec.width, 0);
      }
      case 'c':
        return padded(character(value), " ", left ? '<' : '>', spec.width, 0);
      case 'd':
      case 'i':
      case 'u':
      case 'o':
      case 'x':
      case 'X':
        return whole(value, spec, left, zeros);
      case 'e':
      case 'E':
      case 'f':
      case 'F':
      case 'g':
      case 'G': {
        const auto given = value.number();
        if (!given.has_value()) fail("must be real number, not " + std::string(value.type_name()));
        if (spec.precision.value_or(0) > kMostDigits) fail("a format's precision is too large");
        const std::string digits = float_digits(*given, spec.type, spec.precision.value_or(6), spec.alternate);
        return number_text(digits, "", std::signbit(*given) && !std::isnan(*given), spec, left,
                           zeros && std::isfinite(*given));
      }
      default:
        fail("unsupported format character '" + std::string(1, spec.type >= ' ' && spec.type < 127 ? spec.type : '?') +
             "'");
    }
  }

  static MarkedText character(const Value& value) {
    if (const MarkedText* text = value.as_text()) {
      if (character_count(text->bytes()) != 1) fail("%c requires int or char");
      return *text;
    }
    const auto code = value.as_integer();
    if (code == nullptr || *code < 0 || *code > 0x10FFFF || (*code >= 0xD800 && *code < 0xE000)) {
      fail("%c requires int or char");
    }
    std::string character;
    append_utf8(character, static_cast<char32_t>(*code));
    return MarkedText(std::move(character));
  }

  static MarkedText whole(const Value& value, const FormatSpec& spec, bool left, bool zeros) {
    const bool decimal = spec.type == 'd' || spec.type == 'i' || spec.type == 'u';
    auto given = value.integer();
    if (const double* number = value.as_float(); number != nullptr && decimal) {
      if (!std::isfinite(*number) || std::fabs(*number) >= 9.2e18) fail("cannot convert the number to an integer");
      given = static_cast<int64_t>(*number);
    }
    if (!given.has_value()) {
      fail(std::string("%") + spec.type + " format: a number is required, not " + value.type_name());
    }
    std::string digits = integer_digits(*given, decimal ? 'd' : spec.type);
    const auto least = static_cast<size_t>(spec.precision.value_or(0));
    if (digits.size() < least) digits.insert(0, least - digits.size(), '0');
    const std::string prefix = spec.alternate && !decimal ? std::string("0") + spec.type : "";
    return number_text(digits, prefix, *given < 0, spec, left, zeros);
  }

  static MarkedText number_text(const std::string& digits, const std::string& prefix, bool negative,
                                const FormatSpec& spec, bool left, bool zeros) {
    std::string head = negative ? "-" : spec.sign == '-' ? "" : std::string(1, spec.sign);
    head += prefix;
    const size_t size = head.size();
    const char align = left ? '<' : zeros ? '=' : '>';
    return padded(MarkedText(head + digits), align == '=' ? "0" : " ", align, spec.width, size);
  }

  Evaluator& evaluator_;
  const MarkedText& format_;
  const std::string& bytes_;
  std::vector<Value> values_;
  size_t next_ = 0;
  bool may_be_left_ = false;
  std::optional<Value> mapping_;
};

class BraceFormatter {
 public:
  BraceFormatter(Evaluator& evaluator, const CallArguments& arguments) : evaluator_(evaluator), arguments_(arguments) {}

  MarkedText run(const MarkedText& format, int depth) {
    if (depth > 2) fail("Max string recursion exceeded");
    const std::string& bytes = format.bytes();
    MarkedText out;
    for (size_t i = 0; i < bytes.size();) {
      const size_t brace = std::min(bytes.find_first_of("{}", i), bytes.size());
      out.append_slice(format, i, brace);
      if (brace == bytes.size()) break;
      if (brace + 1 < bytes.size() && bytes[brace + 1] == bytes[brace]) {
        out.append_slice(format, brace, brace + 1);
        i = brace + 2;
        continue;
      }
      if (bytes[brace] == '}') fail("Single '}' encountered in format string");
      const size_t end = closing(bytes, brace + 1);
      out.append(field(format.slice(brace + 1, end), depth));
      i = end + 1;
      evaluator_.budget.step();
      if (out.size() > kLargestString) evaluator_.budget.made(out.size());
    }
    return out;
  }

 private:
  static size_t closing(const std::string& bytes, size_t i) {
    int open = 1;
    bool in_index = false;
    for (; i < bytes.size(); ++i) {
      if (bytes[i] == '[') in_index = true;
      if (bytes[i] == ']') in_index = false;
      if (in_index) continue;
      open += bytes[i] == '{' ? 1 : bytes[i] == '}' ? -1 : 0;
      if (open == 0) return i;
    }
    fail("expected '}' before end of string");
  }

  // name[!conversion][:spec]
  MarkedText field(const MarkedText& text, int depth) {
    const std::string& bytes = text.bytes();
    size_t name_end = 0;
    for (bool in_index = false; name_end < bytes.size(); ++name_end) {
      const char c = bytes[name_end];
      if (c == '[') in_index = true;
      if (c == ']') in_index = false;
      if (!in_index && (c == '!' || c == ':')) break;
      if (!in_index && (c == '{' || c == '}')) fail("unexpected '{' in field name");
    }
    Value value = value_of(bytes.substr(0, name_end));
    size_t i = name_end;
    if (i < bytes.size() && bytes[i] == '!') {
      if (i + 1 >= bytes.size()) fail("unmatched '{' in format spec");
      value = Value(converted(value, bytes[i + 1]));
      i += 2;
      if (i < bytes.size() && bytes[i] != ':') fail("expected ':' after conversion specifier");
    }
    if (i >= bytes.size()) return to_text(value);
    const MarkedText spec = run(text.slice(i + 1, bytes.size()), depth + 1);
    return format_value(value, parse_format_spec(spec.bytes()), spec.empty());
  }

  static bool is_number(std::string_view text) {
    return !text.empty() && text.size() < 10 && text.find_first_not_of("0123456789") == std::string_view::npos;
  }

  const Value& positional(size_t place) const {
    if (place >= arguments_.positional.size()) {
      fail("Replacement index " + std::to_string(place) + " out of range for positional args tuple");
    }
    return arguments_.positional[place];
  }

  Value first_part(const std::string& name) {
    if (name.empty() || is_number(name)) {
      const bool automatic = name.empty();
      if (numbering_ != '\0' && numbering_ != (automatic ? 'a' : 'm')) {
        fail("cannot switch between manual field specification and automatic field numbering");
      }
      numbering_ = automatic ? 'a' : 'm';
      return positional(automatic ? next_++ : static_cast<size_t>(std::stoul(name)));
    }
    for (const auto& [known, value] : arguments_.keywords) {
      if (known == name) return value;
    }
    fail("no value for the format field " + quoted(name));
  }

  Value value_of(const std::string& name) {
    size_t i = std::min(name.find_first_of(".["), name.size());
    Value value = first_part(name.substr(0, i));
    while (i < name.size()) {
      if (name[i] == '.') {
        const size_t end = std::min(name.find_first_of(".[", i + 1), name.size());
        if (end == i + 1) fail("Empty attribute in format string");
        value = evaluator_.attribute(value, std::string_view(name).substr(i + 1, end - i - 1));
        i = end;
      } else if (name[i] == '[') {
        const size_t end = name.find(']', i);
        if (end == std::string::npos) fail("Missing ']' in format string");
        const std::string key = name.substr(i + 1, end - i - 1);
        if (key.empty()) fail("Empty attribute in format string");
        value =
            evaluator_.item(value, is_number(key) ? Value(static_cast<int64_t>(std::stoll(key))) : Value::text(key));
        i = end + 1;
      } else {
        fail("Only '.' or '[' may follow ']' in format field specifier");
      }
    }
    return value;
  }

  Evaluator& evaluator_;
  const CallArguments& arguments_;
  size_t next_ = 0;
  char numbering_ = '\0';
};

}  // namespace

MarkedText percent_format(Evaluator& evaluator, const MarkedText& format, const Value& values) {
  if (format.safe()) fail("formatting text that went through 'safe' is not supported");
  return PercentFormatter(evaluator, format, values).run();
}

MarkedText brace_format(Evaluator& evaluator, const MarkedText& format, const CallArguments& arguments) {
  return BraceFormatter(evaluator, arguments).run(format, 1);
}

}  // namespace graft::text::jinja
