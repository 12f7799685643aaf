// The normaliser Precompiled: rules that SentencePiece compiled into a trie. Their form, base64 around it: the size of
// the trie in bytes as a little-endian uint32, the trie as a double array of little-endian uint32 (the format of the
// library Darts-clone), then the replacements, each with a zero byte behind it; the trie's values are offsets into
// them.

#include <utf8proc.h>

#include <array>
#include <optional>

#include "base/utf8.h"
#include "text/stages/normalizers.h"
#include "text/unicode/code_points.h"
#include "text/unicode/text_rewrite.h"

namespace graft::text {
namespace {

constexpr size_t kLongestCluster = 5;  // bytes; longer grapheme clusters are looked up character by character

std::optional<std::string> from_base64(std::string_view text) {
  while (!text.empty() && text.back() == '=') text.remove_suffix(1);
  std::string bytes;
  bytes.reserve(text.size() * 3 / 4);
  uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    int value = -1;
    if (c >= 'A' && c <= 'Z') value = c - 'A';
    if (c >= 'a' && c <= 'z') value = c - 'a' + 26;
    if (c >= '0' && c <= '9') value = c - '0' + 52;
    if (c == '+') value = 62;
    if (c == '/') value = 63;
    if (value < 0) return std::nullopt;
    bits = (bits << 6) | static_cast<uint32_t>(value);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    bytes += static_cast<char>(static_cast<unsigned char>((bits >> count) & 0xFF));
  }
  if (count >= 6 || (bits & ((1U << count) - 1)) != 0) return std::nullopt;
  return bytes;
}

// A node is a 32-bit unit: bits 0 to 7 and 31 its label, bit 8 whether a string ends here, bits 10 to 30 the offset of
// its children, shifted by 8 more where bit 9 is set. A leaf's value is in bits 0 to 30.
struct Unit {
  uint32_t bits = 0;
  [[nodiscard]] bool has_leaf() const { return ((bits >> 8) & 1) != 0; }
  [[nodiscard]] size_t value() const { return bits & 0x7FFFFFFFU; }
  [[nodiscard]] uint32_t label() const { return bits & 0x800000FFU; }
  [[nodiscard]] size_t offset() const { return static_cast<size_t>(bits >> 10) << ((bits & 0x200U) >> 6); }
};

class Precompiled : public OnePassNormalizer {
 public:
  static Result<std::unique_ptr<Normalizer>> from(std::string_view bytes, const std::string& path) {
    auto made = std::make_unique<Precompiled>();
    const Error wrong = invalid(path + ": not a map of characters as SentencePiece compiles them");
    if (bytes.size() < 4) return wrong;
    const size_t size = little_endian(bytes, 0) / 4 * 4;
    if (size < 4 || size > bytes.size() - 4) return wrong;
    made->units_.reserve(size / 4);
    for (size_t i = 0; i < size; i += 4) made->units_.push_back({little_endian(bytes, 4 + i)});
    made->replacements_ = bytes.substr(4 + size);
    if (!is_valid_utf8(made->replacements_)) return wrong;
    return std::unique_ptr<Normalizer>(std::move(made));
  }

 protected:
  [[nodiscard]] std::string rewrite(std::string_view text, OffsetMap* map) const override {
    std::vector<Step> steps;
    if (!find_steps(text, steps)) return std::string(text);
    TextRewrite out(text, map);
    for (const Step& step : steps) out.step(step.c, step.change);
    return out.finish();
  }

 private:
  struct Step {
    char32_t c = 0;
    int change = 0;
  };

  static uint32_t little_endian(std::string_view bytes, size_t at) {
    uint32_t value = 0;
    for (size_t i = 4; i-- > 0;) value = (value << 8) | static_cast<uint8_t>(bytes[at + i]);
    return value;
  }

  // The replacement of the shortest string of the trie that `key` begins with. Shortest, as in `tokenizers`.
  [[nodiscard]] std::optional<std::string_view> look_up(std::string_view key) const {
    size_t node = units_[0].offset();
    for (const char c : key) {
      const auto byte = static_cast<uint8_t>(c);
      if (byte == 0) return std::nullopt;
      node ^= byte;
      if (node >= units_.size() || units_[node].label() != byte) return std::nullopt;
      const bool has_leaf = units_[node].has_leaf();
      node ^= units_[node].offset();
      if (!has_leaf) continue;
      if (node >= units_.size()) return std::nullopt;
      return replacement(units_[node].value());
    }
    return std::nullopt;
  }

  [[nodiscard]] std::optional<std::string_view> replacement(size_t begin) const {
    if (begin > replacements_.size()) return std::nullopt;
    if (begin < replacements_.size() && is_continuation(replacements_[begin])) return std::nullopt;
    const size_t end = std::min(replacements_.find('\0', begin), replacements_.size());
    return std::string_view(replacements_).substr(begin, end - begin);
  }

  // False where no rule applies.
  bool find_steps(std::string_view text, std::vector<Step>& steps) const {
    steps.reserve(text.size());
    bool modified = false;
    for (size_t begin = 0; begin < text.size();) {
      const size_t end = cluster_end(text, begin);
      const std::string_view cluster = text.substr(begin, end - begin);
      begin = end;
      const auto whole = cluster.size() <= kLongestCluster ? look_up(cluster) : std::nullopt;
      if (whole.has_value()) {
        modified = true;
        replace(cluster, *whole, steps);
        continue;
      }
      for (size_t i = 0; i < cluster.size();) {
        const CodePoint c = code_point_at(cluster, i);
        const auto part = look_up(cluster.substr(i, c.size));
        if (part.has_value()) {
          modified = true;
          replace(cluster.substr(i, c.size), *part, steps);
        } else {
          steps.push_back({c.value, 0});
        }
        i += c.size;
      }
    }
    return modified;
  }

  // Extended grapheme clusters (UAX 29).
  static size_t cluster_end(std::string_view text, size_t begin) {
    CodePoint before = code_point_at(text, begin);
    size_t end = begin + before.size;
    utf8proc_int32_t state = 0;
    while (end < text.size()) {
      const CodePoint next = code_point_at(text, end);
      if (utf8proc_grapheme_break_stateful(static_cast<utf8proc_int32_t>(before.value),
                                           static_cast<utf8proc_int32_t>(next.value), &state) != 0) {
        break;
      }
      end += next.size;
      before = next;
    }
    return end;
  }

  static size_t count_characters(std::string_view text) {
    size_t count = 0;
    for (const char c : text) count += is_continuation(c) ? 0 : 1;
    return count;
  }

  // Characters beyond the old ones' number are new; where there are fewer, the last takes the others' place. Where
  // nothing comes in place of something, that is the character before, as in `tokenizers`.
  static void replace(std::string_view from, std::string_view to, std::vector<Step>& steps) {
    const size_t old_count = count_characters(from);
    const size_t new_count = count_characters(to);
    size_t position = 0;
    for (size_t i = 0; i < to.size(); ++position) {
      const CodePoint c = code_point_at(to, i);
      steps.push_back({c.value, position >= old_count ? 1 : 0});
      i += c.size;
    }
    if (new_count < old_count && !steps.empty()) steps.back().change -= static_cast<int>(old_count - new_count);
  }

  std::vector<Unit> units_;
  std::string replacements_;
};

}  // namespace

Result<std::unique_ptr<Normalizer>> make_precompiled(JsonFields& fields) {
  GRAFT_TRY(const std::string text, fields.string("precompiled_charsmap"));
  const std::string path = fields.path_of("precompiled_charsmap");
  const auto bytes = from_base64(text);
  if (!bytes.has_value()) return invalid(path + ": not base64");
  return Precompiled::from(*bytes, path);
}

}  // namespace graft::text
