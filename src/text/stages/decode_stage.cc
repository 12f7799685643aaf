#include "text/stages/decode_stage.h"

#include <algorithm>
#include <optional>

#include "base/utf8.h"
#include "text/stages/byte_level.h"
#include "text/unicode/code_points.h"
#include "text/unicode/lossy_utf8.h"

namespace graft::text {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

// The bytes of all tokens are one text; a character may be spread over several tokens.
class ByteLevelStage : public WholeTokenStage {
 public:
  void finish() override {
    if (!pending_.empty()) emit(kReplacement);  // at most three bytes, the beginning of one character
    pending_.clear();
    next().end_token();
    next().finish();
  }

 protected:
  void token(std::string_view token) override {
    const auto bytes = ByteAlphabet::get().decode(token);
    pending_ += bytes.has_value() ? std::string_view(*bytes) : token;
    size_t done = 0;
    while (done < pending_.size()) {
      const std::string_view rest = std::string_view(pending_).substr(done);
      const Utf8Run run = next_utf8_run(rest);
      if (run.kind == Utf8Run::kIncomplete) break;
      emit(run.kind == Utf8Run::kValid ? rest.substr(0, run.size) : kReplacement);
      done += run.size;
    }
    pending_.erase(0, done);
  }

 private:
  std::string pending_;
};

// A run of tokens <0x..> is text where it is valid UTF-8 as a whole; else each of them becomes U+FFFD. So it is known
// only once another token comes.
class ByteFallbackStage : public WholeTokenStage {
 public:
  void finish() override {
    flush();
    next().finish();
  }

 protected:
  void token(std::string_view token) override {
    if (const auto byte = byte_of(token); byte.has_value()) {
      bytes_ += *byte;
      return;
    }
    flush();
    emit_token(token);
  }

 private:
  static int digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
  }
  static std::optional<char> byte_of(std::string_view token) {
    if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return std::nullopt;
    const int high = digit(token[3]);
    const int low = digit(token[4]);
    if (high < 0 || low < 0) return std::nullopt;
    return static_cast<char>(static_cast<unsigned char>(high * 16 + low));
  }
  void flush() {
    if (bytes_.empty()) return;
    if (is_valid_utf8(bytes_)) {
      emit_token(bytes_);
    } else {
      for (size_t i = 0; i < bytes_.size(); ++i) emit_token(kReplacement);
    }
    bytes_.clear();
  }

  std::string bytes_;
};

// Takes up to `start` of one character from a token's front and up to `stop` from its back.
class StripStage : public DecodeStage {
 public:
  StripStage(std::string character, size_t start, size_t stop)
      : character_(std::move(character)), start_(start), stop_(stop) {}

  void text(std::string_view piece) override {
    for (size_t i = 0; i < piece.size();) {
      const size_t size = code_point_at(piece, i).size;
      const std::string_view c = piece.substr(i, size);
      i += size;
      if (c == character_) {
        strip();
        continue;
      }
      in_front_ = false;
      give(held_back_);
      held_back_ = 0;
      emit(c);
    }
  }
  void end_token() override {
    in_front_ = true;
    taken_ = held_back_ = 0;
    next().end_token();
  }
  void finish() override { next().finish(); }

 private:
  void strip() {
    if (in_front_ && taken_ < start_) {
      ++taken_;
      return;
    }
    in_front_ = false;
    if (held_back_ < stop_) {
      ++held_back_;
    } else {
      give(1);
    }
  }
  void give(size_t count) {
    for (; count > 0; --count) emit(character_);
  }

  std::string character_;
  size_t start_;
  size_t stop_;
  bool in_front_ = true;
  size_t taken_ = 0;
  size_t held_back_ = 0;
};

// How many bytes at the end of `text` are the beginning of `literal`.
size_t overlap(std::string_view text, std::string_view literal) {
  for (size_t size = std::min(text.size(), literal.size() - 1); size > 0; --size) {
    if (text.ends_with(literal.substr(0, size))) return size;
  }
  return 0;
}

}  // namespace

void LiteralReplaceStage::text(std::string_view piece) {
  pending_ += piece;
  std::string_view rest = pending_;
  for (size_t i = rest.find(literal_); i != std::string_view::npos; i = rest.find(literal_)) {
    emit(rest.substr(0, i));
    emit(content_);
    rest.remove_prefix(i + literal_.size());
  }
  size_t held_back = overlap(rest, literal_);
  // Not half a character: pieces are valid UTF-8, so what is held back begins at one of its boundaries.
  emit(rest.substr(0, rest.size() - held_back));
  pending_.erase(0, pending_.size() - held_back);
}

void LiteralReplaceStage::end_token() {
  emit(pending_);
  pending_.clear();
  next().end_token();
}

std::unique_ptr<DecodeStage> make_byte_fallback_stage() { return std::make_unique<ByteFallbackStage>(); }
std::unique_ptr<DecodeStage> make_byte_level_stage() { return std::make_unique<ByteLevelStage>(); }
std::unique_ptr<DecodeStage> make_strip_stage(std::string character, size_t start, size_t stop) {
  return std::make_unique<StripStage>(std::move(character), start, stop);
}

}  // namespace graft::text
