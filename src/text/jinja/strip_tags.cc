// The filter striptags: without HTML's tags and comments, white space as one space, and entities as characters.

#include <array>
#include <charconv>
#include <optional>

#include "base/strings.h"
#include "text/jinja/failure.h"
#include "text/jinja/filters.h"
#include "text/jinja/text_operations.h"
#include "text/unicode/code_points.h"

namespace graft::text::jinja {
namespace {

MarkedText without_tags(const MarkedText& text) {
  const std::string& bytes = text.bytes();
  MarkedText result;
  size_t done = 0;
  for (size_t start = bytes.find('<'); start != std::string::npos; start = bytes.find('<', done)) {
    const bool comment = bytes.compare(start, 4, "<!--") == 0;
    const size_t end = comment ? bytes.find("-->", start + 4) : bytes.find('>', start);
    if (end == std::string::npos) break;  // never closed: no tag
    result.append_slice(text, done, start);
    done = end + (comment ? 3 : 1);
  }
  result.append_slice(text, done, text.size());
  return result;
}

// Numbers from 0x80 to 0x9F mean Windows' code page 1252; 0 where it has none.
constexpr std::array<char16_t, 32> kWindows1252 = {0x20AC, 0x81,   0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021,
                                                   0x02C6, 0x2030, 0x0160, 0x2039, 0x0152, 0x8D,   0x017D, 0x8F,
                                                   0x90,   0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014,
                                                   0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0x9D,   0x017E, 0x0178};

// Characters that HTML forbids as numbers vanish.
std::string character_of(uint64_t number) {
  std::string out;
  if (number == 0 || (number >= 0xD800 && number <= 0xDFFF) || number > 0x10FFFF) return "\xEF\xBF\xBD";
  if (number >= 0x80 && number <= 0x9F) {
    append_utf8(out, kWindows1252[number - 0x80]);
    return out;
  }
  const bool control = number < 0x20 && number != '\t' && number != '\n' && number != '\f' && number != '\r';
  const bool forbidden =
      control || number == 0x7F || (number >= 0xFDD0 && number <= 0xFDEF) || (number & 0xFFFE) == 0xFFFE;
  if (!forbidden) append_utf8(out, static_cast<char32_t>(number));
  return out;
}

struct Entity {
  size_t size = 0;  // bytes of its spelling
  std::string text;
};

std::optional<Entity> numeric_entity(std::string_view text) {
  const bool hex = text.size() > 2 && (text[2] == 'x' || text[2] == 'X');
  size_t i = hex ? 3 : 2;
  uint64_t number = 0;
  const size_t first = i;
  for (; i < text.size(); ++i) {
    const char c = text[i];
    const char letter = static_cast<char>(c | 0x20);
    const bool digit = c >= '0' && c <= '9';
    if (!digit && !(hex && letter >= 'a' && letter <= 'f')) break;
    number = std::min<uint64_t>(number * (hex ? 16 : 10) + static_cast<uint64_t>(digit ? c - '0' : letter - 'a' + 10),
                                0x110000);
  }
  if (i == first) return std::nullopt;
  if (i < text.size() && text[i] == ';') ++i;
  return Entity{i, character_of(number)};
}

// HTML has 2,231 names; these are those that text is escaped with. Another one is refused rather than left as it is.
std::optional<Entity> named_entity(std::string_view text) {
  struct Name {
    std::string_view name;
    std::string_view text;
    bool bare = true;  // known without a semicolon, too
  };
  constexpr std::array kNames = {Name{"amp", "&"},   Name{"lt", "<"},          Name{"gt", ">"},
                                 Name{"quot", "\""}, Name{"nbsp", "\xC2\xA0"}, Name{"apos", "'", false}};
  const size_t end = std::min(
      text.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", 1), text.size());
  const std::string_view name = text.substr(1, end - 1);
  if (name.empty()) return std::nullopt;
  const bool closed = end < text.size() && text[end] == ';';
  for (const Name& known : kNames) {
    if (known.name == name && (closed || known.bare)) return Entity{end + (closed ? 1 : 0), std::string(known.text)};
  }
  fail("striptags: the entity '&" + printable(name, 40) + "' is not supported");
}

MarkedText without_entities(const MarkedText& text) {
  const std::string_view bytes = text.bytes();
  MarkedText result;
  size_t done = 0;
  for (size_t at = bytes.find('&'); at != std::string_view::npos; at = bytes.find('&', std::max(done, at + 1))) {
    const std::string_view rest = bytes.substr(at);
    const auto entity = rest.size() > 1 && rest[1] == '#' ? numeric_entity(rest) : named_entity(rest);
    if (!entity) continue;
    result.append_slice(text, done, at);
    // The character comes from where its spelling does.
    const MarkedText spelled = text.slice(at, at + entity->size);
    bool first = true;
    result.append(spelled.slice(0, 1).map_characters([&](char32_t, std::string& out) {
      if (first) out += entity->text;
      first = false;
    }));
    done = at + entity->size;
  }
  result.append_slice(text, done, text.size());
  return result;
}

}  // namespace

Value striptags_filter(Evaluator& evaluator, const Value& input, CallArguments& arguments) {
  arguments.accept({});
  const MarkedText text = without_tags(to_text(input));
  const std::vector<Value> words = split(evaluator, text, nullptr, -1);
  return evaluator.text(without_entities(join(evaluator, MarkedText(" "), words, true)));
}

}  // namespace graft::text::jinja
