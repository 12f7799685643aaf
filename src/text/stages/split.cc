#include "base/strings.h"
#include "text/stages/pre_tokenizers.h"
#include "text/stages/regex.h"
#include "text/stages/splitting.h"
#include "text/stages/word_scanner.h"

namespace graft::text {
namespace {

// A pattern of plain text, or a regular expression.
class Pattern {
 public:
  static Result<Pattern> from_json(const nlohmann::json& spec, const std::string& path) {
    Pattern pattern;
    GRAFT_TRY(JsonFields fields, JsonFields::of(spec, path));
    GRAFT_TRY(const auto literal, fields.optional_string("String"));
    GRAFT_TRY(const auto regex, fields.optional_string("Regex"));
    GRAFT_CHECK_OK(fields.done());
    if (literal.has_value() == regex.has_value()) return invalid(path + ": expected one of String and Regex");
    if (literal.has_value()) {
      if (literal->empty()) return invalid(path + ".String: cannot be empty");
      pattern.literal_ = *literal;
      return pattern;
    }
    auto compiled = Regex::compile(*regex);
    if (!compiled.ok()) return at(path + ".Regex", compiled.error());
    pattern.regex_ = std::move(compiled).value();
    pattern.source_ = *regex;
    return pattern;
  }

  [[nodiscard]] std::optional<KnownPattern> known() const { return known_pattern(source_); }

  // Appends stretches that cover the text.
  void find(std::string_view text, std::vector<Stretch>& out) const {
    size_t done = 0;
    const auto add = [&](size_t begin, size_t end) {
      if (done < begin) out.push_back({done, begin, false});
      out.push_back({begin, end, true});
      done = end;
    };
    if (regex_ != nullptr) {
      Regex::Scan scan(*regex_, text);
      for (RegexMatch match; scan.next(&match);) add(match.begin, match.end);
    } else {
      for (size_t i = text.find(literal_); i != std::string_view::npos; i = text.find(literal_, i + literal_.size())) {
        add(i, i + literal_.size());
      }
    }
    if (done < text.size()) out.push_back({done, text.size(), false});
  }

 private:
  std::string literal_;
  std::string source_;
  std::unique_ptr<Regex> regex_;
};

class Split : public PreTokenizer {
 public:
  Split(Pattern pattern, SplitBehavior behavior, bool invert)
      : pattern_(std::move(pattern)), behavior_(behavior), invert_(invert) {}

  void apply(PreTokenized& input) const override {
    const std::string_view text = input.text();
    std::vector<Piece> pieces;
    std::vector<Stretch> stretches;
    for (const Piece& piece : input.pieces()) {
      stretches.clear();
      pattern_.find(text.substr(piece.begin, piece.end - piece.begin), stretches);
      for (Stretch& stretch : stretches) {
        stretch = {stretch.begin + piece.begin, stretch.end + piece.begin, stretch.is_match != invert_};
      }
      apply_behavior(stretches, behavior_, pieces);
    }
    input.set_pieces(std::move(pieces));
  }

 private:
  Pattern pattern_;
  SplitBehavior behavior_;
  bool invert_;
};

class KnownSplit : public PreTokenizer {
 public:
  explicit KnownSplit(KnownPattern pattern) : scanner_(pattern) {}

  void apply(PreTokenized& input) const override {
    const std::string_view text = input.text();
    std::vector<Piece> pieces;
    pieces.reserve(text.size() / 4);
    for (const Piece& piece : input.pieces()) scanner_.split(text, piece, pieces);
    input.set_pieces(std::move(pieces));
  }

 private:
  WordScanner scanner_;
};

// GPT-2's: every byte becomes a character that the vocabulary spells tokens with.
class ByteLevel : public PreTokenizer {
 public:
  ByteLevel(bool add_prefix_space, bool use_regex) : add_prefix_space_(add_prefix_space), use_regex_(use_regex) {}

  void apply(PreTokenized& input) const override {
    if (add_prefix_space_) {
      input.rewrite_pieces([](std::string_view piece, std::string& out) {
        if (piece[0] != ' ') out += ' ';
        out += piece;
        return piece.size() - (piece[0] != ' ' ? first_size(piece) : 0);
      });
    }
    if (use_regex_) split_.apply(input);
    input.set_byte_level();
  }

 private:
  // The space that is put in front counts as part of the first character.
  static size_t first_size(std::string_view piece) {
    size_t size = 1;
    while (size < piece.size() && (static_cast<unsigned char>(piece[size]) & 0xC0) == 0x80) ++size;
    return size;
  }

  bool add_prefix_space_;
  bool use_regex_;
  KnownSplit split_{KnownPattern::kGpt2};
};

}  // namespace

Result<std::unique_ptr<PreTokenizer>> make_split(JsonFields& fields) {
  const nlohmann::json* spec = fields.any("pattern");
  if (spec == nullptr) return invalid(fields.path_of("pattern") + ": missing; expected a pattern");
  GRAFT_TRY(Pattern pattern, Pattern::from_json(*spec, fields.path_of("pattern")));
  GRAFT_TRY(const std::string name, fields.string("behavior"));
  GRAFT_TRY(const bool invert, fields.boolean("invert", std::nullopt));
  auto behavior = split_behavior_from(name);
  if (!behavior.ok()) return at(fields.path_of("behavior"), behavior.error());
  // A known pattern matches everything, so keeping its matches apart is all that there is to do.
  const bool keeps_matches =
      (*behavior == SplitBehavior::kIsolated) || (*behavior == SplitBehavior::kRemoved && invert);
  if (const auto known = pattern.known(); known.has_value() && keeps_matches) {
    return std::unique_ptr<PreTokenizer>(std::make_unique<KnownSplit>(*known));
  }
  return std::unique_ptr<PreTokenizer>(std::make_unique<Split>(std::move(pattern), *behavior, invert));
}

Result<std::unique_ptr<PreTokenizer>> make_byte_level(JsonFields& fields) {
  GRAFT_TRY(const bool add_prefix_space, fields.boolean("add_prefix_space", std::nullopt));
  fields.ignore("trim_offsets");  // moves offsets only
  GRAFT_TRY(const bool use_regex, fields.boolean("use_regex", true));
  return std::unique_ptr<PreTokenizer>(std::make_unique<ByteLevel>(add_prefix_space, use_regex));
}

}  // namespace graft::text
