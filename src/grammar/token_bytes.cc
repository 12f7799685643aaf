#include "grammar/token_bytes.h"

#include <array>
#include <charconv>
#include <cstdint>
#include <optional>
#include <string_view>

namespace graft::grammar {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // what decoding makes of bytes that are no character

// The byte that each letter of GPT-2's alphabet stands for; -1: none. Printable characters of Latin-1 stand for
// themselves, the other bytes for the letters from U+0100 on, in order.
std::array<int, 512> byte_of_letter() {
  std::array<int, 512> bytes{};
  bytes.fill(-1);
  size_t moved = 256;
  for (size_t byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    bytes[printable ? byte : moved++] = static_cast<int>(byte);
  }
  return bytes;
}

std::optional<std::string> from_alphabet(std::string_view spelling) {
  static const std::array<int, 512> kBytes = byte_of_letter();
  std::string out;
  for (size_t i = 0; i < spelling.size();) {
    const auto lead = static_cast<unsigned char>(spelling[i]);
    const size_t length = lead < 0x80 ? 1 : 2;
    if ((lead >= 0x80 && (lead & 0xE0U) != 0xC0U) || i + length > spelling.size()) return std::nullopt;
    const unsigned letter =
        length == 1 ? lead : (lead & 0x1FU) << 6U | (static_cast<unsigned char>(spelling[i + 1]) & 0x3FU);
    if (letter >= kBytes.size() || kBytes[letter] < 0) return std::nullopt;
    out += static_cast<char>(kBytes[letter]);
    i += length;
  }
  return out;
}

// "<0xE2>", as sentencepiece spells a byte.
std::optional<std::string> from_byte_token(std::string_view spelling) {
  if (spelling.size() != 6 || !spelling.starts_with("<0x") || spelling.back() != '>') return std::nullopt;
  unsigned byte = 0;
  const auto [end, error] = std::from_chars(spelling.data() + 3, spelling.data() + 5, byte, 16);
  if (error != std::errc() || end != spelling.data() + 5) return std::nullopt;
  return std::string(1, static_cast<char>(byte));
}

// A token that changes nothing around it, and its text: what decoders do to the beginning of a text happens to it.
struct Neighbour {
  int32_t id = -1;
  std::string text;
};

Neighbour find_neighbour(const text::Tokenizer& tokenizer) {
  Neighbour neighbour;
  const auto encoding = tokenizer.encode("a", {.add_special_tokens = false});
  if (encoding.ids.empty()) return neighbour;
  neighbour.id = encoding.ids.back();
  neighbour.text = tokenizer.decode(std::span(&neighbour.id, 1), false);
  return neighbour;
}

std::string bytes_of(const text::Tokenizer& tokenizer, const Neighbour& before, int32_t id) {
  std::string text;
  if (before.id >= 0) {
    const std::array<int32_t, 2> pair{before.id, id};
    text = tokenizer.decode(pair, false);
  }
  if (before.id >= 0 && text.starts_with(before.text)) {
    text.erase(0, before.text.size());
  } else {
    text = tokenizer.decode(std::span(&id, 1), false);
  }
  if (text.find(kReplacement) == std::string::npos) return text;
  const std::string spelling = tokenizer.id_to_token(id);
  if (auto byte = from_byte_token(spelling)) return *byte;
  return from_alphabet(spelling).value_or(text);
}

}  // namespace

std::vector<std::string> token_bytes(const text::Tokenizer& tokenizer) {
  const Neighbour before = find_neighbour(tokenizer);
  std::vector<std::string> out(static_cast<size_t>(tokenizer.vocab_size()));
  for (int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
    if (tokenizer.is_special(id) || tokenizer.id_to_token(id).empty()) continue;
    out[static_cast<size_t>(id)] = bytes_of(tokenizer, before, id);
  }
  return out;
}

}  // namespace graft::grammar
