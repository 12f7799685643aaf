// The pre-tokenizers that go by the class of every character.

#include "base/strings.h"
#include "text/stages/metaspace.h"
#include "text/stages/pre_tokenizers.h"
#include "text/stages/splitting.h"
#include "text/unicode/char_class.h"
#include "text/unicode/code_points.h"
#include "text/unicode/letter_case.h"

namespace graft::text {
namespace {

// Cuts every piece by itself.
class PieceSplit : public PreTokenizer {
 public:
  void apply(PreTokenized& input) const override {
    const std::string_view text = input.text();
    std::vector<Piece> pieces;
    pieces.reserve(input.pieces().size());
    for (const Piece& piece : input.pieces()) split(text.substr(0, piece.end), piece.begin, pieces);
    input.set_pieces(std::move(pieces));
  }

 protected:
  // Appends what becomes of the text from `begin` to its end.
  virtual void split(std::string_view text, size_t begin, std::vector<Piece>& out) const = 0;
};

// Every character of some kind is a delimiter.
class DelimiterSplit : public PieceSplit {
 public:
  using IsDelimiter = bool (*)(char32_t c, char32_t wanted);
  DelimiterSplit(IsDelimiter is_delimiter, char32_t wanted, SplitBehavior behavior)
      : is_delimiter_(is_delimiter), wanted_(wanted), behavior_(behavior) {}

 protected:
  void split(std::string_view text, size_t begin, std::vector<Piece>& out) const override {
    std::vector<Stretch> stretches;
    size_t done = begin;
    for (size_t i = begin; i < text.size();) {
      const CodePoint c = code_point_at(text, i);
      if (is_delimiter_(c.value, wanted_)) {
        if (done < i) stretches.push_back({done, i, false});
        done = i + c.size;
        stretches.push_back({i, done, true});
      }
      i += c.size;
    }
    if (done < text.size()) stretches.push_back({done, text.size(), false});
    apply_behavior(stretches, behavior_, out);
  }

 private:
  IsDelimiter is_delimiter_;
  char32_t wanted_;
  SplitBehavior behavior_;
};

bool is_space(char32_t c, char32_t /*wanted*/) { return CharClasses::get().is(c, kSpace); }
bool is_punctuation(char32_t c, char32_t /*wanted*/) { return CharClasses::get().is(c, kPunctuation); }
bool is_wanted(char32_t c, char32_t wanted) { return c == wanted; }

// \w+|[^\w\s]+
class Whitespace : public PieceSplit {
 protected:
  void split(std::string_view text, size_t begin, std::vector<Piece>& out) const override {
    Kind kind = kSpaces;
    for (size_t i = begin; i < text.size();) {
      const CodePoint c = code_point_at(text, i);
      const Kind next = kind_of(c.value);
      if (next != kind) {
        if (kind != kSpaces) out.push_back({begin, i});
        begin = i;
        kind = next;
      }
      i += c.size;
    }
    if (kind != kSpaces) out.push_back({begin, text.size()});
  }

 private:
  enum Kind { kSpaces, kWord, kOther };
  static Kind kind_of(char32_t c) {
    const CharClasses& classes = CharClasses::get();
    if (classes.is(c, kWordChar)) return kWord;
    return classes.is(c, kSpace) ? kSpaces : kOther;
  }
};

// BERT's: at white space, which goes, and at every punctuation mark, which stays.
class BertSplit : public PreTokenizer {
 public:
  void apply(PreTokenized& input) const override {
    spaces_.apply(input);
    marks_.apply(input);
  }

 private:
  DelimiterSplit spaces_{is_space, 0, SplitBehavior::kRemoved};
  DelimiterSplit marks_{is_punctuation, 0, SplitBehavior::kIsolated};
};

// Where the script changes; Chinese and the Japanese syllabaries count as one. As in `tokenizers`, spaces that a piece
// begins with are lost.
class ScriptSplit : public PieceSplit {
 protected:
  void split(std::string_view text, size_t begin, std::vector<Piece>& out) const override {
    unsigned script = 0;
    for (size_t i = begin; i < text.size();) {
      const CodePoint c = code_point_at(text, i);
      const unsigned next = script_of(c.value);
      if (next != 0 && next != script) {
        if (script != 0) out.push_back({begin, i});
        begin = i;
        script = next;
      }
      i += c.size;
    }
    if (script != 0) out.push_back({begin, text.size()});
  }
};

class FixedLength : public PieceSplit {
 public:
  explicit FixedLength(size_t length) : length_(length) {}

 protected:
  void split(std::string_view text, size_t begin, std::vector<Piece>& out) const override {
    size_t count = 0;
    for (size_t i = begin; i < text.size(); ++count) {
      if (count == length_) {
        out.push_back({begin, i});
        begin = i;
        count = 0;
      }
      i += code_point_at(text, i).size;
    }
    if (begin < text.size()) out.push_back({begin, text.size()});
  }

 private:
  size_t length_;  // in characters
};

using Made = Result<std::unique_ptr<PreTokenizer>>;

Made make_punctuation(JsonFields& fields) {
  GRAFT_TRY(const auto name, fields.optional_string("behavior"));
  auto behavior = split_behavior_from(name.value_or("Isolated"));
  if (!behavior.ok()) return at(fields.path_of("behavior"), behavior.error());
  return std::unique_ptr<PreTokenizer>(std::make_unique<DelimiterSplit>(is_punctuation, 0, *behavior));
}

Made make_char_delimiter(JsonFields& fields) {
  GRAFT_TRY(const std::string delimiter, read_character(fields, "delimiter"));
  return std::unique_ptr<PreTokenizer>(
      std::make_unique<DelimiterSplit>(is_wanted, code_point_at(delimiter, 0).value, SplitBehavior::kRemoved));
}

Made make_fixed_length(JsonFields& fields) {
  constexpr size_t kDefaultLength = 5;
  const nlohmann::json* length = fields.any("length");
  if (length != nullptr && (!length->is_number_unsigned() || *length == 0U)) {
    return invalid(fields.path_of("length") + ": expected a number of characters, found " + printable(length->dump()));
  }
  const size_t count = length == nullptr ? kDefaultLength : length->get<size_t>();
  return std::unique_ptr<PreTokenizer>(std::make_unique<FixedLength>(count));
}

}  // namespace

Made make_class_split(std::string_view type, JsonFields& fields) {
  if (type == "Punctuation") return make_punctuation(fields);
  if (type == "CharDelimiterSplit") return make_char_delimiter(fields);
  if (type == "FixedLength") return make_fixed_length(fields);
  if (type == "Whitespace") return std::unique_ptr<PreTokenizer>(std::make_unique<Whitespace>());
  if (type == "BertPreTokenizer") return std::unique_ptr<PreTokenizer>(std::make_unique<BertSplit>());
  if (type == "UnicodeScripts") return std::unique_ptr<PreTokenizer>(std::make_unique<ScriptSplit>());
  if (type == "WhitespaceSplit") {
    return std::unique_ptr<PreTokenizer>(std::make_unique<DelimiterSplit>(is_space, 0, SplitBehavior::kRemoved));
  }
  return std::unique_ptr<PreTokenizer>();
}

}  // namespace graft::text
