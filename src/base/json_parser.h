#pragma once

#include <bit>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/strings.h"
#include "base/utf8.h"

namespace graft {

// The parser behind parse_json and parse_ordered_json: one pass, straight into the library's values. The library's own
// parser drops earlier values of a repeated key silently, has no limit on depth, and reads a row of a dataset six
// times slower. Recursion is bounded by JsonLimits::depth.
template <class Json>
class JsonParser {
 public:
  JsonParser(std::string_view text, const JsonLimits& limits) : text_(text), limits_(limits) {}

  Result<Json> parse() {
    Json value;
    if (!read_value(value, 0)) return failure();
    skip_space();
    if (at_ != text_.size() && !fail("unexpected text after the value")) return failure();
    return value;
  }

 private:
  using String = typename Json::string_t;

  // Always false, so that `return fail(...)` ends a reader.
  bool fail(std::string what) {
    problem_ = std::move(what);
    return false;
  }

  Error failure() const {
    int64_t line = limits_.first_line;
    size_t line_start = 0;
    const size_t end = std::min(at_, text_.size());
    for (size_t i = 0; i < end; ++i) {
      if (text_[i] != '\n') continue;
      ++line;
      line_start = i + 1;
    }
    return invalid("not valid JSON: line " + std::to_string(line) + ", column " + std::to_string(end - line_start + 1) +
                   ": " + problem_);
  }

  [[nodiscard]] int peek() const { return at_ < text_.size() ? static_cast<unsigned char>(text_[at_]) : -1; }

  void skip_space() {
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c != ' ' && c != '\n' && c != '\r' && c != '\t') return;
      ++at_;
    }
  }

  bool unexpected(const char* wanted) {
    if (at_ >= text_.size()) return fail(std::string("the text ends where ") + wanted + " was expected");
    return fail(std::string("expected ") + wanted + " near '" + printable(text_.substr(at_, 20), 40) + "'");
  }

  bool read_value(Json& value, size_t depth) {
    skip_space();
    switch (peek()) {
      case '{':
        return read_object(value, depth + 1);
      case '[':
        return read_array(value, depth + 1);
      case '"':
        value = String();
        return read_string(value.template get_ref<String&>());
      case 't':
        return read_word("true", true, value);
      case 'f':
        return read_word("false", false, value);
      case 'n':
        return read_word("null", nullptr, value);
      default:
        return read_number(value);
    }
  }

  bool read_word(std::string_view word, Json meaning, Json& value) {
    if (text_.substr(at_, word.size()) != word) return unexpected("a value");
    at_ += word.size();
    value = std::move(meaning);
    return true;
  }

  bool too_deep() { return fail("nested deeper than " + std::to_string(limits_.depth) + " levels"); }

  bool read_array(Json& value, size_t depth) {
    if (depth > limits_.depth) return too_deep();
    ++at_;
    value = Json::array();
    auto& items = value.template get_ref<typename Json::array_t&>();
    skip_space();
    if (peek() == ']') {
      ++at_;
      return true;
    }
    while (true) {
      if (!read_value(items.emplace_back(), depth)) return false;
      skip_space();
      const int next = peek();
      if (next != ',' && next != ']') return unexpected("',' or ']'");
      ++at_;
      if (next == ']') return true;
    }
  }

  bool read_object(Json& value, size_t depth) {
    if (depth > limits_.depth) return too_deep();
    ++at_;
    value = Json::object();
    auto& members = value.template get_ref<typename Json::object_t&>();
    std::unordered_set<String> names;
    skip_space();
    if (peek() == '}') {
      ++at_;
      return true;
    }
    while (true) {
      skip_space();
      if (peek() != '"') return unexpected("a key in quotes");
      const size_t key_at = at_;
      String key;
      if (!read_string(key)) return false;
      skip_space();
      if (peek() != ':') return unexpected("':'");
      ++at_;
      Json* member = add_member(members, names, std::move(key));
      if (member == nullptr) {
        at_ = key_at;
        return fail("duplicate key '" + printable(last_key_) + "'");
      }
      if (!read_value(*member, depth)) return false;
      skip_space();
      const int next = peek();
      if (next != ',' && next != '}') return unexpected("',' or '}'");
      ++at_;
      if (next == '}') return true;
    }
  }

  // A new null member, or nullptr where the key is taken.
  template <class Members>
  Json* add_member(Members& members, std::unordered_set<String>& names, String key) {
    if constexpr (requires { members.emplace_back(key, Json()); }) {
      // The ordered kind looks keys up one by one: beyond a few, a set does it, or wide objects take quadratic time.
      constexpr size_t kFew = 12;
      if (members.size() < kFew) {
        for (const auto& [name, unused] : members) {
          if (name == key) return taken(std::move(key));
        }
      } else {
        if (names.empty()) {
          for (const auto& [name, unused] : members) names.insert(name);
        }
        if (!names.insert(key).second) return taken(std::move(key));
      }
      members.emplace_back(std::move(key), Json());
      return &members.back().second;
    } else {
      const auto [position, added] = members.emplace(key, Json());
      return added ? &position->second : taken(std::move(key));
    }
  }

  Json* taken(String key) {
    last_key_ = std::move(key);
    return nullptr;
  }

  // Bytes from at_ on that stand for themselves in a string and are ASCII.
  [[nodiscard]] size_t plain_run() const {
    constexpr uint64_t kOnes = 0x0101010101010101;
    constexpr uint64_t kHigh = 0x8080808080808080;
    const auto zero_bytes = [](uint64_t word) { return (word - kOnes) & ~word & kHigh; };
    size_t i = at_;
    if constexpr (std::endian::native == std::endian::little) {
      for (; i + 8 <= text_.size(); i += 8) {
        uint64_t word = 0;
        std::memcpy(&word, text_.data() + i, 8);
        const uint64_t special = (word & kHigh) | zero_bytes(word ^ (kOnes * '"')) | zero_bytes(word ^ (kOnes * '\\')) |
                                 ((word - kOnes * 0x20) & ~word & kHigh);
        if (special != 0) return i - at_ + static_cast<size_t>(std::countr_zero(special)) / 8;
      }
    }
    for (; i < text_.size(); ++i) {
      const auto byte = static_cast<unsigned char>(text_[i]);
      if (byte < 0x20 || byte >= 0x80 || byte == '"' || byte == '\\') break;
    }
    return i - at_;
  }

  bool read_string(String& out) {
    ++at_;
    while (true) {
      const size_t run = plain_run();
      out.append(text_.data() + at_, run);
      at_ += run;
      const int byte = peek();
      if (byte == '"') {
        ++at_;
        return true;
      }
      if (byte == -1) return fail("the text ends inside a string");
      if (byte == '\\') {
        if (!read_escape(out)) return false;
      } else if (byte < 0x20) {
        return fail("a control character inside a string must be written as an escape");
      } else {
        const size_t length = utf8_sequence_length(text_, at_);
        if (length == 0) return fail("the string is not valid UTF-8");
        out.append(text_.data() + at_, length);
        at_ += length;
      }
    }
  }

  bool read_escape(String& out) {
    constexpr std::string_view kNames = "\"\\/bfnrt";
    constexpr std::string_view kMeanings = "\"\\/\b\f\n\r\t";
    ++at_;
    const int name = peek();
    if (name == 'u') return read_unicode_escape(out);
    const size_t which = name == -1 ? std::string_view::npos : kNames.find(static_cast<char>(name));
    if (which == std::string_view::npos) return fail("an unknown escape after '\\' in a string");
    out += kMeanings[which];
    ++at_;
    return true;
  }

  // The four hex digits after "\u"; at_ is on the 'u'.
  bool read_hex(uint32_t& unit) {
    unit = 0;
    const char* first = text_.data() + at_ + 1;
    if (at_ + 5 > text_.size()) return fail("the text ends inside a string");
    const auto [end, error] = std::from_chars(first, first + 4, unit, 16);
    if (error != std::errc() || end != first + 4) return fail("'\\u' in a string needs four hex digits");
    at_ += 5;
    return true;
  }

  bool read_unicode_escape(String& out) {
    uint32_t code = 0;
    if (!read_hex(code)) return false;
    if (code >= 0xDC00 && code <= 0xDFFF) return fail("half of a surrogate pair in a string");
    if (code >= 0xD800 && code <= 0xDBFF) {
      uint32_t low = 0;
      if (text_.substr(at_, 2) != "\\u") return fail("half of a surrogate pair in a string");
      ++at_;
      if (!read_hex(low)) return false;
      if (low < 0xDC00 || low > 0xDFFF) return fail("half of a surrogate pair in a string");
      code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    }
    append_utf8(out, code);
    return true;
  }

  [[nodiscard]] bool digit_at(size_t i) const { return i < text_.size() && text_[i] >= '0' && text_[i] <= '9'; }
  [[nodiscard]] bool one_of(size_t i, std::string_view allowed) const {
    return i < text_.size() && allowed.find(text_[i]) != std::string_view::npos;
  }

  bool read_number(Json& value) {
    size_t end = at_;
    if (one_of(end, "-")) ++end;
    if (!digit_at(end)) return unexpected("a value");
    const size_t digits = end;
    while (digit_at(end)) ++end;
    if (end - digits > 1 && text_[digits] == '0') return fail("a number must not begin with a zero");
    bool integer = true;
    if (one_of(end, ".")) {
      integer = false;
      if (!digit_at(++end)) return fail("a number needs a digit after its point");
      while (digit_at(end)) ++end;
    }
    if (one_of(end, "eE")) {
      integer = false;
      ++end;
      if (one_of(end, "+-")) ++end;
      if (!digit_at(end)) return fail("a number needs a digit in its exponent");
      while (digit_at(end)) ++end;
    }
    const std::string_view text = text_.substr(at_, end - at_);
    if (integer && store_integer(text, value)) {
      at_ = end;
      return true;
    }
    double number = 0;
    if (std::from_chars(text.data(), text.data() + text.size(), number).ec != std::errc()) {
      number = std::strtod(std::string(text).c_str(), nullptr);  // tells too large (infinite) from too small (0)
    }
    if (!std::isfinite(number)) return fail("the number " + printable(text, 40) + " is too large");
    value = number;
    at_ = end;
    return true;
  }

  // False where it does not fit 64 bits: then it becomes a float, as in the library's parser.
  static bool store_integer(std::string_view text, Json& value) {
    if (text.front() == '-') {
      int64_t number = 0;
      if (std::from_chars(text.data(), text.data() + text.size(), number).ec != std::errc()) return false;
      value = number;
    } else {
      uint64_t number = 0;
      if (std::from_chars(text.data(), text.data() + text.size(), number).ec != std::errc()) return false;
      value = number;
    }
    return true;
  }

  std::string_view text_;
  JsonLimits limits_;
  size_t at_ = 0;
  std::string problem_;
  String last_key_;
};

}  // namespace graft
