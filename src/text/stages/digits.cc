#include "text/stages/pre_tokenizers.h"
#include "text/stages/splitting.h"
#include "text/unicode/char_class.h"
#include "text/unicode/code_points.h"

namespace graft::text {
namespace {

// Splits numbers off, digit by digit or run by run.
class Digits : public PreTokenizer {
 public:
  explicit Digits(bool individual) : individual_(individual) {}

  void apply(PreTokenized& input) const override {
    const std::string_view text = input.text();
    std::vector<Piece> pieces;
    pieces.reserve(input.pieces().size());
    for (const Piece& piece : input.pieces()) split(text, piece, pieces);
    input.set_pieces(std::move(pieces));
  }

 private:
  void split(std::string_view text, const Piece& piece, std::vector<Piece>& out) const {
    const CharClasses& classes = CharClasses::get();
    size_t begin = piece.begin;
    bool in_digits = false;
    for (size_t i = piece.begin; i < piece.end;) {
      const CodePoint c = code_point_at(text, i);
      const bool is_digit = classes.is(c.value, kDigit);
      if (i > begin && (is_digit != in_digits || (is_digit && individual_))) {
        out.push_back({begin, i});
        begin = i;
      }
      in_digits = is_digit;
      i += c.size;
    }
    if (begin < piece.end) out.push_back({begin, piece.end});
  }

  bool individual_;
};

}  // namespace

Result<std::unique_ptr<PreTokenizer>> make_digits(JsonFields& fields) {
  GRAFT_TRY(const bool individual, fields.boolean("individual_digits", std::nullopt));
  return std::unique_ptr<PreTokenizer>(std::make_unique<Digits>(individual));
}

}  // namespace graft::text
