// The normalisers that look at one character at a time, and those at the ends of the text.

#include "text/stages/byte_level.h"
#include "text/stages/normalizers.h"
#include "text/unicode/char_class.h"
#include "text/unicode/code_points.h"
#include "text/unicode/letter_case.h"
#include "text/unicode/normal_form.h"
#include "text/unicode/text_rewrite.h"

namespace graft::text {
namespace {

class FormNormalizer : public OnePassNormalizer {
 public:
  explicit FormNormalizer(NormalForm form) : form_(form) {}
  [[nodiscard]] bool may_change(std::string_view text) const override { return may_change_under(form_, text); }

 protected:
  [[nodiscard]] std::string rewrite(std::string_view text, OffsetMap* map) const override {
    return normal_form(form_, text, map);
  }

 private:
  NormalForm form_;
};

// Takes every character, the next one of the rewriting, one step further.
using Step = void (*)(char32_t c, TextRewrite& out);

class StepNormalizer : public OnePassNormalizer {
 public:
  explicit StepNormalizer(Step step) : step_(step) {}

 protected:
  [[nodiscard]] std::string rewrite(std::string_view text, OffsetMap* map) const override {
    TextRewrite out(text, map);
    for (size_t i = 0; i < text.size();) {
      const CodePoint c = code_point_at(text, i);
      step_(c.value, out);
      i += c.size;
    }
    return out.finish();
  }

 private:
  Step step_;
};

void lower_step(char32_t c, TextRewrite& out) {
  const LowerCase lower = lower_case(c);
  out.replace(lower.first);
  if (lower.second != 0) out.insert(lower.second);
}

void unless(bool dropped, char32_t c, TextRewrite& out) {
  if (dropped) {
    out.drop_characters(1);
  } else {
    out.replace(c);
  }
}

void strip_accents_step(char32_t c, TextRewrite& out) { unless(is_combining_mark(c), c, out); }
void strip_nonspacing_step(char32_t c, TextRewrite& out) { unless(CharClasses::get().is(c, kNonspacing), c, out); }

void clean_step(char32_t c, TextRewrite& out) {
  const CharClasses& classes = CharClasses::get();
  if (classes.is(c, kControl)) return out.drop_characters(1);
  out.replace(classes.is(c, kSpace) ? U' ' : c);
}

// The CJK ideographs as BERT counts them: the extensions up to E, and the compatibility ideographs.
bool is_chinese(char32_t c) {
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x20000 && c <= 0x2A6DF) ||
         (c >= 0x2A700 && c <= 0x2B73F) || (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) ||
         (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

void chinese_step(char32_t c, TextRewrite& out) {
  if (!is_chinese(c)) return out.replace(c);
  out.replace(U' ');
  out.insert(c);
  out.insert(U' ');
}

// SentencePiece's rules for machine translation.
void nmt_step(char32_t c, TextRewrite& out) {
  const bool dropped =
      (c >= 0x01 && c <= 0x08) || c == 0x0B || (c >= 0x0E && c <= 0x1F) || c == 0x7F || c == 0x8F || c == 0x9F;
  const bool spaced = c == 0x09 || c == 0x0A || c == 0x0C || c == 0x0D || c == 0x1680 || (c >= 0x200B && c <= 0x200F) ||
                      c == 0x2028 || c == 0x2029 || c == 0x2581 || c == 0xFEFF || c == 0xFFFD;
  unless(dropped, spaced ? U' ' : c, out);
}

// Every byte becomes its character of the byte-level alphabet.
void byte_level_step(char32_t c, TextRewrite& out) {
  std::string bytes;
  append_utf8(bytes, c);
  const ByteAlphabet& alphabet = ByteAlphabet::get();
  out.replace(alphabet.character(static_cast<uint8_t>(bytes[0])));
  for (size_t i = 1; i < bytes.size(); ++i) out.insert(alphabet.character(static_cast<uint8_t>(bytes[i])));
}

class PrependNormalizer : public OnePassNormalizer {
 public:
  explicit PrependNormalizer(std::string prefix) : prefix_(std::move(prefix)) {}

 protected:
  [[nodiscard]] std::string rewrite(std::string_view text, OffsetMap* map) const override {
    TextRewrite out(text, map);
    if (!text.empty()) out.prepend(prefix_);
    return out.keep_rest();
  }

 private:
  std::string prefix_;
};

class StripNormalizer : public OnePassNormalizer {
 public:
  StripNormalizer(bool left, bool right) : left_(left), right_(right) {}

 protected:
  [[nodiscard]] std::string rewrite(std::string_view text, OffsetMap* map) const override {
    const CharClasses& classes = CharClasses::get();
    size_t begin = 0;
    size_t end = text.size();
    for (; left_ && begin < end; begin += code_point_at(text, begin).size) {
      if (!classes.is(code_point_at(text, begin).value, kSpace)) break;
    }
    for (; right_ && end > begin; end -= code_point_before(text, end).size) {
      if (!classes.is(code_point_before(text, end).value, kSpace)) break;
    }
    TextRewrite out(text, map);
    out.drop(begin);
    out.keep(end);
    return out.finish();
  }

 private:
  bool left_;
  bool right_;
};

using Made = Result<std::unique_ptr<Normalizer>>;

template <class Type, class... Arguments>
std::unique_ptr<Normalizer> made(Arguments&&... arguments) {
  return std::make_unique<Type>(std::forward<Arguments>(arguments)...);
}

}  // namespace

Made make_character_normalizer(std::string_view type, JsonFields& fields) {
  if (type == "NFC") return made<FormNormalizer>(NormalForm::kNfc);
  if (type == "NFD") return made<FormNormalizer>(NormalForm::kNfd);
  if (type == "NFKC") return made<FormNormalizer>(NormalForm::kNfkc);
  if (type == "NFKD") return made<FormNormalizer>(NormalForm::kNfkd);
  if (type == "Lowercase") return made<StepNormalizer>(lower_step);
  if (type == "StripAccents") return made<StepNormalizer>(strip_accents_step);
  if (type == "Nmt") return made<StepNormalizer>(nmt_step);
  if (type == "ByteLevel") return made<StepNormalizer>(byte_level_step);
  if (type == "Prepend") {
    GRAFT_TRY(std::string prefix, fields.string("prepend"));
    return made<PrependNormalizer>(std::move(prefix));
  }
  if (type == "Strip") {
    GRAFT_TRY(const bool left, fields.boolean("strip_left", std::nullopt));
    GRAFT_TRY(const bool right, fields.boolean("strip_right", std::nullopt));
    return made<StripNormalizer>(left, right);
  }
  return std::unique_ptr<Normalizer>();
}

Made make_bert_normalizer(JsonFields& fields) {
  GRAFT_TRY(const bool clean, fields.boolean("clean_text", std::nullopt));
  GRAFT_TRY(const bool chinese, fields.boolean("handle_chinese_chars", std::nullopt));
  GRAFT_TRY(const bool lowercase, fields.boolean("lowercase", std::nullopt));
  GRAFT_TRY(const bool strip, fields.boolean("strip_accents", lowercase));
  std::vector<std::unique_ptr<Normalizer>> parts;
  if (clean) parts.push_back(made<StepNormalizer>(clean_step));
  if (chinese) parts.push_back(made<StepNormalizer>(chinese_step));
  if (strip) {
    parts.push_back(made<FormNormalizer>(NormalForm::kNfd));
    parts.push_back(made<StepNormalizer>(strip_nonspacing_step));
  }
  if (lowercase) parts.push_back(made<StepNormalizer>(lower_step));
  return made<NormalizerSequence>(std::move(parts));
}

}  // namespace graft::text
