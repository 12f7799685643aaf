#include "text/stages/metaspace.h"

#include <algorithm>
#include <array>

#include "base/strings.h"
#include "text/stages/pre_tokenizers.h"
#include "text/stages/splitting.h"
#include "text/unicode/code_points.h"

namespace graft::text {
namespace {

class Metaspace : public PreTokenizer {
 public:
  explicit Metaspace(MetaspaceOptions options) : options_(std::move(options)) {}

  void apply(PreTokenized& input) const override {
    const std::string_view text = input.text();
    input.rewrite_pieces([&](const Piece& piece, TextRewrite& out) {
      if (wants_prefix(input, text, piece)) out.prepend(options_.replacement);
      const std::string_view within = text.substr(0, piece.end);
      for (size_t i = within.find(' ', piece.begin); i < piece.end; i = within.find(' ', i + 1)) {
        out.keep(i);
        out.substitute(i + 1, options_.replacement);
      }
      out.keep(piece.end);
    });
    if (options_.split) split(input);
  }

 private:
  [[nodiscard]] bool wants_prefix(const PreTokenized& input, std::string_view text, const Piece& piece) const {
    const bool has_one = text[piece.begin] == ' ' || text.substr(piece.begin).starts_with(options_.replacement);
    if (has_one || options_.prepend == MetaspaceOptions::Prepend::kNever) return false;
    return options_.prepend == MetaspaceOptions::Prepend::kAlways || input.begins_input(piece.begin);
  }

  // In front of every replacement.
  void split(PreTokenized& input) const {
    const std::string_view text = input.text();
    std::vector<Piece> pieces;
    for (const Piece& piece : input.pieces()) {
      const std::string_view within = text.substr(0, piece.end);
      size_t begin = piece.begin;
      for (size_t i = within.find(options_.replacement, begin); i < piece.end;
           i = within.find(options_.replacement, i + 1)) {
        if (i > begin) pieces.push_back({begin, i});
        begin = i;
      }
      if (begin < piece.end) pieces.push_back({begin, piece.end});
    }
    input.set_pieces(std::move(pieces));
  }

  MetaspaceOptions options_;
};

}  // namespace

Result<std::string> read_character(JsonFields& fields, const char* key) {
  GRAFT_TRY(std::string text, fields.string(key));
  if (text.empty() || code_point_at(text, 0).size != text.size()) {
    return invalid(fields.path_of(key) + ": expected one character, found '" + printable(text) + "'");
  }
  return text;
}

Result<MetaspaceOptions> read_metaspace(JsonFields& fields) {
  static const std::array<std::string, 3> names = {"first", "never", "always"};
  MetaspaceOptions options;
  GRAFT_TRY(options.replacement, read_character(fields, "replacement"));
  GRAFT_TRY(const auto scheme, fields.optional_string("prepend_scheme"));
  GRAFT_TRY(const bool add_prefix_space, fields.boolean("add_prefix_space", true));  // of older files
  GRAFT_TRY(options.split, fields.boolean("split", true));
  fields.ignore("str_rep");
  if (scheme.has_value()) {
    const auto found = std::find(names.begin(), names.end(), *scheme);
    if (found == names.end()) {
      return invalid(fields.path_of("prepend_scheme") + ": unknown scheme '" + printable(*scheme) + "'" +
                     suggestion(*scheme, names));
    }
    options.prepend = static_cast<MetaspaceOptions::Prepend>(found - names.begin());
  }
  if (!add_prefix_space && scheme.has_value() && options.prepend != MetaspaceOptions::Prepend::kNever) {
    return invalid(fields.path_of("add_prefix_space") + ": false, but prepend_scheme is '" + *scheme + "'");
  }
  if (!add_prefix_space) options.prepend = MetaspaceOptions::Prepend::kNever;
  return options;
}

Result<std::unique_ptr<PreTokenizer>> make_metaspace(JsonFields& fields) {
  GRAFT_TRY(MetaspaceOptions options, read_metaspace(fields));
  return std::unique_ptr<PreTokenizer>(std::make_unique<Metaspace>(std::move(options)));
}

}  // namespace graft::text
