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
    if (type == "Metaspace") return make_metaspace(fields);
    if (type == "Sequence") return make_sequence(fields, depth);
    return make_class_split(type, fields);
  };
  GRAFT_TRY(auto made, dispatch());
  if (made == nullptr) {
    return unsupported_type(
        path, type,
        {"BertPreTokenizer", "ByteLevel", "CharDelimiterSplit", "Digits", "FixedLength", "Metaspace", "Punctuation",
         "Sequence", "Split", "UnicodeScripts", "Whitespace", "WhitespaceSplit"});
  }
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

void PreTokenized::rewrite_pieces(const std::function<void(const Piece&, TextRewrite&)>& rewrite) {
  OffsetMap map;
  TextRewrite out(text(), &map);
  std::vector<Piece> moved;
  for (const Piece& piece : pieces_) {
    out.drop(piece.begin);
    const size_t begin = out.size();
    rewrite(piece, out);
    moved.push_back({begin, out.size()});
  }
  pieces_ = std::move(moved);
  own(out.finish(), std::move(map));
}

void PreTokenized::own(std::string text, OffsetMap map) {
  owned_ = std::move(text);
  text_ = owned_;
  maps_.push(std::move(map));
}

ByteRange PreTokenized::source(size_t begin, size_t end) const {
  if (maps_.empty() && plain_shift_.has_value()) return {begin + *plain_shift_, end + *plain_shift_};
  if (maps_.empty()) return source_(begin, end);
  if (begin >= end) return source_(maps_.begin_of(begin), maps_.begin_of(begin));
  return source_(maps_.begin_of(begin), maps_.end_of(end - 1));
}

Result<std::unique_ptr<PreTokenizer>> make_pre_tokenizer(const nlohmann::json* spec, const std::string& path) {
  if (spec == nullptr) return std::unique_ptr<PreTokenizer>();
  return make(*spec, path, 0);
}

}  // namespace graft::text
