#include "text/stages/post_processor.h"

#include <map>

#include "base/strings.h"
#include "text/stages/byte_level.h"
#include "text/stages/json_fields.h"
#include "text/unicode/char_class.h"
#include "text/unicode/code_points.h"

namespace graft::text {
namespace {

constexpr int kDeepestSequence = 8;

// Leaves the spaces at both ends of a token out of its range.
class TrimOffsets : public PostProcessor {
 public:
  explicit TrimOffsets(bool add_prefix_space) : add_prefix_space_(add_prefix_space) {}

  void apply(PostProcessed& text) const override {
    for (size_t i = 0; i < text.tokens.size(); ++i) {
      EncodedToken& token = text.tokens[i];
      const std::string_view spelling = text.spelling(token.id);
      size_t leading = leading_spaces(spelling);
      const size_t trailing = trailing_spaces(spelling);
      // The one space in front of the text may be ours.
      const bool is_first = i == 0 || token.range.first == 0;
      if (is_first && add_prefix_space_ && leading == 1) leading = 0;
      auto& [begin, end] = token.range;
      for (; leading > 0 && begin < end; --leading) begin = next(text.input, begin, end);
      for (size_t count = trailing; count > 0 && end > begin; --count) end = previous(text.input, begin, end);
    }
  }

 private:
  static bool is_space(char32_t c) {
    return c == ByteAlphabet::get().character(' ') || CharClasses::get().is(c, kSpace);
  }
  static size_t leading_spaces(std::string_view spelling) {
    size_t count = 0;
    for (size_t i = 0; i < spelling.size(); ++count) {
      const CodePoint c = code_point_at(spelling, i);
      if (!is_space(c.value)) break;
      i += c.size;
    }
    return count;
  }
  static size_t trailing_spaces(std::string_view spelling) {
    size_t count = 0;
    for (size_t end = spelling.size(); end > 0; ++count) {
      const CodePoint c = code_point_before(spelling, end);
      if (!is_space(c.value)) break;
      end -= c.size;
    }
    return count;
  }
  static size_t next(std::string_view input, size_t begin, size_t end) {
    do ++begin;
    while (begin < end && is_continuation(input[begin]));
    return begin;
  }
  static size_t previous(std::string_view input, size_t begin, size_t end) {
    do --end;
    while (end > begin && is_continuation(input[end]));
    return end;
  }

  bool add_prefix_space_;
};

class AroundText : public PostProcessor {
 public:
  AroundText(std::vector<int32_t> before, std::vector<int32_t> behind)
      : before_(std::move(before)), behind_(std::move(behind)) {}
  void apply(PostProcessed& text) const override {
    if (!text.add_special_tokens) return;
    std::vector<EncodedToken> all;
    all.reserve(before_.size() + text.tokens.size() + behind_.size());
    for (const int32_t id : before_) all.push_back({id, {0, 0}});
    all.insert(all.end(), text.tokens.begin(), text.tokens.end());
    for (const int32_t id : behind_) all.push_back({id, {0, 0}});
    text.tokens = std::move(all);
  }

 private:
  std::vector<int32_t> before_;
  std::vector<int32_t> behind_;
};

class PostProcessorSequence : public PostProcessor {
 public:
  explicit PostProcessorSequence(std::vector<std::unique_ptr<PostProcessor>> parts) : parts_(std::move(parts)) {}
  void apply(PostProcessed& text) const override {
    for (const auto& part : parts_) part->apply(text);
  }

 private:
  std::vector<std::unique_ptr<PostProcessor>> parts_;
};

using SpecialTokens = std::map<std::string, std::vector<int32_t>>;

Result<SpecialTokens> read_special_tokens(JsonFields& fields, int32_t id_limit) {
  SpecialTokens special;
  GRAFT_TRY(const nlohmann::json* specs, fields.object("special_tokens"));
  for (const auto& item : specs->items()) {
    const std::string path = fields.path_of("special_tokens['" + printable(item.key()) + "']");
    GRAFT_TRY(JsonFields token, JsonFields::of(item.value(), path));
    token.ignore("id");
    token.ignore("tokens");
    GRAFT_TRY(const nlohmann::json* ids, token.array("ids"));
    GRAFT_CHECK_OK(token.done());
    for (size_t i = 0; i < ids->size(); ++i) {
      const std::string where = path + ".ids[" + std::to_string(i) + "]";
      GRAFT_TRY(const int32_t id, token_id_from((*ids)[i], where));
      if (id >= id_limit) return invalid(where + ": no token has id " + std::to_string(id));
      special[item.key()].push_back(id);
    }
  }
  return special;
}

// One piece of a template: {"SpecialToken": {"id": name, "type_id": n}} or {"Sequence": {"id": "A", ...}}.
struct TemplatePiece {
  bool is_sequence = false;
  std::string id;
};

Result<TemplatePiece> read_piece(const nlohmann::json& spec, const std::string& path) {
  GRAFT_TRY(JsonFields fields, JsonFields::of(spec, path));
  const nlohmann::json* token = fields.any("SpecialToken");
  const nlohmann::json* sequence = fields.any("Sequence");
  GRAFT_CHECK_OK(fields.done());
  if ((token == nullptr) == (sequence == nullptr)) {
    return invalid(path + ": expected one of SpecialToken and Sequence");
  }
  GRAFT_TRY(JsonFields inner, JsonFields::of(token != nullptr ? *token : *sequence, path));
  TemplatePiece piece{.is_sequence = sequence != nullptr, .id = {}};
  GRAFT_TRY(piece.id, inner.string("id"));
  inner.ignore("type_id");
  GRAFT_CHECK_OK(inner.done());
  return piece;
}

Result<std::unique_ptr<PostProcessor>> make_template(JsonFields& fields, int32_t id_limit) {
  GRAFT_TRY(const SpecialTokens special, read_special_tokens(fields, id_limit));
  GRAFT_TRY(const nlohmann::json* single, fields.array("single"));
  fields.ignore("pair");  // texts are encoded one at a time here
  std::vector<int32_t> before;
  std::vector<int32_t> behind;
  bool seen_text = false;
  for (size_t i = 0; i < single->size(); ++i) {
    const std::string path = fields.path_of("single[" + std::to_string(i) + "]");
    GRAFT_TRY(const TemplatePiece piece, read_piece((*single)[i], path));
    if (piece.is_sequence) {
      if (piece.id != "A" || seen_text) return invalid(path + ": expected the text, Sequence A, just once");
      seen_text = true;
      continue;
    }
    const auto ids = special.find(piece.id);
    if (ids == special.end()) return invalid(path + ": '" + printable(piece.id) + "' is not in special_tokens");
    auto& side = seen_text ? behind : before;
    side.insert(side.end(), ids->second.begin(), ids->second.end());
  }
  if (!seen_text) return invalid(fields.path_of("single") + ": Sequence A, the text, is missing");
  return std::unique_ptr<PostProcessor>(std::make_unique<AroundText>(std::move(before), std::move(behind)));
}

// ["[CLS]", 101]
Result<int32_t> read_named_token(JsonFields& fields, const char* key, int32_t id_limit) {
  GRAFT_TRY(const nlohmann::json* pair, fields.array(key));
  if (pair->size() != 2 || !(*pair)[0].is_string()) {
    return invalid(fields.path_of(key) + ": expected a token and its id");
  }
  GRAFT_TRY(const int32_t id, token_id_from((*pair)[1], fields.path_of(key)));
  if (id >= id_limit) return invalid(fields.path_of(key) + ": no token has id " + std::to_string(id));
  return id;
}

std::vector<std::unique_ptr<PostProcessor>> trimming(bool trim, bool add_prefix_space) {
  std::vector<std::unique_ptr<PostProcessor>> parts;
  if (trim) parts.push_back(std::make_unique<TrimOffsets>(add_prefix_space));
  return parts;
}

Result<std::unique_ptr<PostProcessor>> make_bert(JsonFields& fields, int32_t id_limit, bool is_roberta) {
  GRAFT_TRY(const int32_t sep, read_named_token(fields, "sep", id_limit));
  GRAFT_TRY(const int32_t cls, read_named_token(fields, "cls", id_limit));
  bool trim = false;
  bool add_prefix_space = false;
  if (is_roberta) {
    GRAFT_TRY(trim, fields.boolean("trim_offsets", std::nullopt));
    GRAFT_TRY(add_prefix_space, fields.boolean("add_prefix_space", std::nullopt));
  }
  auto parts = trimming(trim, add_prefix_space);
  parts.push_back(std::make_unique<AroundText>(std::vector<int32_t>{cls}, std::vector<int32_t>{sep}));
  return std::unique_ptr<PostProcessor>(std::make_unique<PostProcessorSequence>(std::move(parts)));
}

Result<std::unique_ptr<PostProcessor>> make_byte_level(JsonFields& fields) {
  GRAFT_TRY(const bool add_prefix_space, fields.boolean("add_prefix_space", std::nullopt));
  GRAFT_TRY(const bool trim, fields.boolean("trim_offsets", std::nullopt));
  fields.ignore("use_regex");
  return std::unique_ptr<PostProcessor>(std::make_unique<PostProcessorSequence>(trimming(trim, add_prefix_space)));
}

Result<std::unique_ptr<PostProcessor>> make(const nlohmann::json& spec, const std::string& path, int32_t id_limit,
                                            int depth);

Result<std::unique_ptr<PostProcessor>> make_sequence(JsonFields& fields, int32_t id_limit, int depth) {
  if (depth == kDeepestSequence) return invalid(fields.path() + ": sequences nested too deep");
  GRAFT_TRY(const nlohmann::json* specs, fields.array("processors"));
  std::vector<std::unique_ptr<PostProcessor>> parts;
  for (size_t i = 0; i < specs->size(); ++i) {
    const std::string path = fields.path_of("processors[" + std::to_string(i) + "]");
    GRAFT_TRY(auto part, make((*specs)[i], path, id_limit, depth + 1));
    parts.push_back(std::move(part));
  }
  return std::unique_ptr<PostProcessor>(std::make_unique<PostProcessorSequence>(std::move(parts)));
}

Result<std::unique_ptr<PostProcessor>> make(const nlohmann::json& spec, const std::string& path, int32_t id_limit,
                                            int depth) {
  GRAFT_TRY(JsonFields fields, JsonFields::of(spec, path));
  GRAFT_TRY(const std::string type, fields.string("type"));
  using Made = Result<std::unique_ptr<PostProcessor>>;
  const auto dispatch = [&]() -> Made {
    if (type == "TemplateProcessing") return make_template(fields, id_limit);
    if (type == "Sequence") return make_sequence(fields, id_limit, depth);
    if (type == "ByteLevel") return make_byte_level(fields);
    if (type == "BertProcessing") return make_bert(fields, id_limit, false);
    if (type == "RobertaProcessing") return make_bert(fields, id_limit, true);
    return unsupported_type(path, type,
                            {"BertProcessing", "ByteLevel", "RobertaProcessing", "Sequence", "TemplateProcessing"});
  };
  GRAFT_TRY(auto made, dispatch());
  GRAFT_CHECK_OK(fields.done());
  return made;
}

}  // namespace

Result<std::unique_ptr<PostProcessor>> make_post_processor(const nlohmann::json* spec, const std::string& path,
                                                           int32_t id_limit) {
  if (spec == nullptr) return std::unique_ptr<PostProcessor>();
  return make(*spec, path, id_limit, 0);
}

}  // namespace graft::text
