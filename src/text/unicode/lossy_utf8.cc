#include "text/unicode/lossy_utf8.h"

#include <cstdint>

#include "base/utf8.h"

namespace graft::text {
namespace {

uint8_t byte_at(std::string_view text, size_t i) { return static_cast<uint8_t>(text[i]); }

// The bytes that may follow a lead byte (Unicode, table 3-7).
bool may_follow(uint8_t lead, uint8_t second) {
  switch (lead) {
    case 0xE0:
      return second >= 0xA0 && second <= 0xBF;
    case 0xED:
      return second >= 0x80 && second <= 0x9F;
    case 0xF0:
      return second >= 0x90 && second <= 0xBF;
    case 0xF4:
      return second >= 0x80 && second <= 0x8F;
    default:
      return second >= 0x80 && second <= 0xBF;
  }
}

size_t announced_length(uint8_t lead) {
  if (lead >= 0xC2 && lead <= 0xDF) return 2;
  if (lead >= 0xE0 && lead <= 0xEF) return 3;
  if (lead >= 0xF0 && lead <= 0xF4) return 4;
  return 1;
}

// Called where no well-formed sequence starts.
Utf8Run ill_formed_run(std::string_view text) {
  const uint8_t lead = byte_at(text, 0);
  const size_t length = announced_length(lead);
  if (length == 1) return {Utf8Run::kInvalid, 1};
  size_t size = 1;
  while (size < length && size < text.size()) {
    const uint8_t byte = byte_at(text, size);
    if (size == 1 ? !may_follow(lead, byte) : (byte & 0xC0) != 0x80) return {Utf8Run::kInvalid, size};
    ++size;
  }
  return {Utf8Run::kIncomplete, size};
}

}  // namespace

Utf8Run next_utf8_run(std::string_view text) {
  const size_t valid = find_invalid_utf8(text).value_or(text.size());
  if (valid > 0 || text.empty()) return {Utf8Run::kValid, valid};
  return ill_formed_run(text);
}

std::string lossy_utf8(std::string_view text, OffsetMap* map) {
  std::string clean;
  clean.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const Utf8Run run = next_utf8_run(text.substr(i));
    if (run.kind == Utf8Run::kValid) {
      clean += text.substr(i, run.size);
    } else {
      if (map != nullptr) map->replaced(clean.size(), clean.size() + 3, i, i + run.size);
      clean += "\xEF\xBF\xBD";
    }
    i += run.size;
  }
  return clean;
}

}  // namespace graft::text
