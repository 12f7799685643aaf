#include "text/stages/pattern.h"
#include "text/stages/pre_tokenizers.h"
#include "text/stages/splitting.h"
#include "text/stages/word_scanner.h"

namespace graft::text {
namespace {

// Appends stretches that cover the text.
void find_stretches(const Pattern& pattern, std::string_view text, std::vector<Stretch>& out) {
  size_t done = 0;
  pattern.each_match(text, [&](size_t begin, size_t end) {
    if (done < begin) out.push_back({done, begin, false});
    out.push_back({begin, end, true});
    done = end;
  });
  if (done < text.size()) out.push_back({done, text.size(), false});
}

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
      find_stretches(pattern_, text.substr(piece.begin, piece.end - piece.begin), stretches);
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
      const std::string_view text = input.text();
      input.rewrite_pieces([&](const Piece& piece, TextRewrite& out) {
        if (text[piece.begin] != ' ') out.prepend(" ");
        out.keep(piece.end);
      });
    }
    if (use_regex_) split_.apply(input);
    input.set_byte_level();
  }

 private:
  bool add_prefix_space_;
  bool use_regex_;
  KnownSplit split_{KnownPattern::kGpt2};
};

}  // namespace

Result<std::unique_ptr<PreTokenizer>> make_split(JsonFields& fields) {
  GRAFT_TRY(Pattern pattern, Pattern::from_json(fields.any("pattern"), fields.path_of("pattern")));
  GRAFT_TRY(const std::string name, fields.string("behavior"));
  GRAFT_TRY(const bool invert, fields.boolean("invert", std::nullopt));
  auto behavior = split_behavior_from(name);
  if (!behavior.ok()) return at(fields.path_of("behavior"), behavior.error());
  // A known pattern matches everything, so keeping its matches apart is all that there is to do.
  const bool keeps_matches =
      (*behavior == SplitBehavior::kIsolated) || (*behavior == SplitBehavior::kRemoved && invert);
  if (const auto known = known_pattern(pattern.source()); known.has_value() && keeps_matches) {
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
