#include "grammar/schema_references.h"

#include <charconv>
#include <optional>

#include "base/strings.h"

namespace graft::grammar {
namespace {

constexpr int kLongestChain = 64;

std::optional<int> hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return std::nullopt;
}

// A JSON Pointer's part in a URI's fragment: RFC 3986's %XX, then RFC 6901's ~0 and ~1.
std::string unescape(std::string_view part) {
  std::string bytes;
  for (size_t i = 0; i < part.size(); ++i) {
    const auto high = part[i] == '%' && i + 2 < part.size() ? hex_digit(part[i + 1]) : std::nullopt;
    const auto low = high ? hex_digit(part[i + 2]) : std::nullopt;
    if (low) {
      bytes += static_cast<char>(*high * 16 + *low);
      i += 2;
    } else {
      bytes += part[i];
    }
  }
  std::string out;
  for (size_t i = 0; i < bytes.size(); ++i) {
    const bool escape = bytes[i] == '~' && i + 1 < bytes.size() && (bytes[i + 1] == '0' || bytes[i + 1] == '1');
    out += !escape ? bytes[i] : bytes[++i] == '0' ? '~' : '/';
  }
  return out;
}

const SchemaJson* step(const SchemaJson& from, const std::string& key) {
  if (from.is_object()) {
    const auto found = from.find(key);
    return found == from.end() ? nullptr : &*found;
  }
  size_t index = 0;
  const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), index);
  const bool number = error == std::errc() && end == key.data() + key.size();
  return from.is_array() && number && index < from.size() ? &from[index] : nullptr;
}

}  // namespace

const SchemaJson* find_reference(const SchemaJson& root, std::string_view reference) {
  if (reference == "#" || reference == "#/") return &root;
  if (!reference.starts_with("#/")) return nullptr;
  const SchemaJson* at = &root;
  for (size_t begin = 2; at != nullptr && begin <= reference.size();) {
    const size_t end = std::min(reference.find('/', begin), reference.size());
    at = step(*at, unescape(reference.substr(begin, end - begin)));
    begin = end + 1;
  }
  return at;
}

Result<const SchemaJson*> follow_references(const SchemaJson& root, const SchemaJson& schema, std::string& place) {
  const SchemaJson* at = &schema;
  for (int i = 0; at->is_object() && at->size() == 1 && at->contains("$ref"); ++i) {
    const SchemaJson& reference = at->front();
    if (!reference.is_string()) return invalid("the schema at " + place + ": `$ref` must be a string");
    const auto& target = reference.get_ref<const std::string&>();
    const SchemaJson* next = find_reference(root, target);
    if (next == nullptr) {
      return invalid("the schema at " + place + ": `$ref` \"" + printable(target) + "\" leads nowhere in this schema");
    }
    if (i >= kLongestChain) return invalid("the schema at " + place + ": `$ref` leads round in a circle");
    at = next;
    place = printable(target);
  }
  return at;
}

}  // namespace graft::grammar
