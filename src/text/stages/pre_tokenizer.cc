#include "text/stages/pre_tokenizer.h"

#include "text/stages/byte_level.h"
#include "text/stages/json_fields.h"
#include "text/stages/pre_tokenizers.h"
#include "text/unicode/code_points.h"

namespace graft::text {
namespace {

constexpr int kDeepestSequence = 8;

class PreTokenizerSequence : public PreTokenizer {
 public:
  explicit PreTokenizerSequence(std::vector<std::unique_ptr<PreTokenizer>> parts) : parts_(std::move(parts)) {}
  void apply(PreTokenized& text) const override {
    for (const auto& part : parts_) part->apply(text);
  }

 private:
  std::vector<std::unique_ptr<PreTokenizer>> parts_;
};

Result<std::unique_ptr<PreTokenizer>> make(const nlohmann::json& spec, const std::string& path, int depth);

Result<std::unique_ptr<PreTokenizer>> make_sequence(JsonFields& fields, int depth) {
  if (depth == kDeepestSequence) return invalid(fields.path() + ": sequences nested too deep");
  GRAFT_TRY(const nlohmann::json* specs, fields.array("pretokenizers"));
  std::vector<std::unique_ptr<PreTokenizer>> parts;
  for (size_t i = 0; i < specs->size(); ++i) {
    GRAFT_TRY(auto part, make((*specs)[i], fields.path_of("pretokenizers[" + std::to_string(i) + "]"), depth + 1));
    parts.push_back(std::move(part));
  }
  return std::unique_ptr<PreTokenizer>(std::make_unique<PreTokenizerSequence>(std::move(parts)));
}

Result<std::unique_ptr<PreTokenizer>> make(const nlohmann::json& spec, const std::string& path, int depth) {
  GRAFT_TRY(JsonFields fields, JsonFields::of(spec, path));
  GRAFT_TRY(const std::string type, fields.string("type"));
  using Made = Result<std::unique_ptr<PreTokenizer>>;
  const auto dispatch = [&]() -> Made {
    if (type == "ByteLevel") return make_byte_level(fields);
    if (type == "Digits") return make_digits(fields);
    if (type == "Split") return make_split(fields);
    if (type == "Sequence") return make_sequence(fields, depth);
    return unsupported_type(path, type, {"ByteLevel", "Digits", "Sequence", "Split"});
  };
  GRAFT_TRY(auto made, dispatch());
  GRAFT_CHECK_OK(fields.done());
  return made;
}

}  // namespace

std::string_view PreTokenized::text() {
  if (byte_level_) {
    byte_level_ = false;
    std::string spelled;
    OffsetMap map;
    std::vector<Piece> moved;
    for (const Piece& piece : pieces_) {
      const size_t begin = spelled.size();
      for (size_t i = piece.begin; i < piece.end; ++i) {
        const size_t at = spelled.size();
        append_utf8(spelled, ByteAlphabet::get().character(static_cast<uint8_t>(text_[i])));
        map.replaced(at, spelled.size(), i, i + 1);
      }
      moved.push_back({begin, spelled.size()});
    }
    pieces_ = std::move(moved);
    own(std::move(spelled), std::move(map));
  }
  return text_;
}

void PreTokenized::set_byte_level() {
  static_cast<void>(text());  // spell out an earlier one
  byte_level_ = true;
}

void PreTokenized::rewrite_pieces(const std::function<size_t(std::string_view, std::string&)>& rewrite) {
  const std::string_view old = text();
  std::string rewritten;
  OffsetMap map;
  std::vector<Piece> moved;
  for (const Piece& piece : pieces_) {
    const size_t begin = rewritten.size();
    const size_t unchanged = rewrite(old.substr(piece.begin, piece.end - piece.begin), rewritten);
    // Recorded for the gap before the piece too: pieces need not touch in the old text.
    map.replaced(begin, rewritten.size() - unchanged, piece.begin, piece.end - unchanged);
    moved.push_back({begin, rewritten.size()});
  }
  pieces_ = std::move(moved);
  own(std::move(rewritten), std::move(map));
}

void PreTokenized::own(std::string text, OffsetMap map) {
  owned_ = std::move(text);
  text_ = owned_;
  maps_.push_back(std::move(map));
}

std::pair<size_t, size_t> PreTokenized::source(size_t begin, size_t end) const {
  std::pair<size_t, size_t> range{begin, end};
  for (auto map = maps_.rbegin(); map != maps_.rend(); ++map) range = map->source(range.first, range.second);
  return range;
}

Result<std::unique_ptr<PreTokenizer>> make_pre_tokenizer(const nlohmann::json* spec, const std::string& path) {
  if (spec == nullptr) return std::unique_ptr<PreTokenizer>();
  return make(*spec, path, 0);
}

}  // namespace graft::text
