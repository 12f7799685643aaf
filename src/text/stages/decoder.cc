#include "text/stages/decoder.h"

#include <array>
#include <optional>
#include <utility>

#include "base/strings.h"
#include "text/stages/json_fields.h"
#include "text/stages/metaspace.h"
#include "text/stages/pattern.h"

namespace graft::text {
namespace {

constexpr int kDeepestSequence = 8;

using Replacement = std::pair<std::string_view, std::string_view>;

// What WordPiece's and CTC's option "cleanup" replaces within a token, one after another.
constexpr std::array<Replacement, 11> kTokenCleanUp = {{{" .", "."},
                                                        {" ?", "?"},
                                                        {" !", "!"},
                                                        {" ,", ","},
                                                        {" ' ", "'"},
                                                        {" n't", "n't"},
                                                        {" 'm", "'m"},
                                                        {" do not", " don't"},
                                                        {" 's", "'s"},
                                                        {" 've", "'ve"},
                                                        {" 're", "'re"}}};

std::string replaced(std::string_view text, std::string_view what, std::string_view by) {
  std::string out;
  size_t done = 0;
  for (size_t i = text.find(what); !what.empty() && i != std::string_view::npos; i = text.find(what, done)) {
    out += text.substr(done, i - done);
    out += by;
    done = i + what.size();
  }
  out += text.substr(done);
  return out;
}

std::string cleaned_up(std::string text) {
  for (const auto& [what, by] : kTokenCleanUp) text = replaced(text, what, by);
  return text;
}

// No decoder: a space between tokens.
class SpacedStage : public WholeTokenStage {
 protected:
  void token(std::string_view token) override {
    if (!first_) emit(" ");
    first_ = false;
    emit_token(token);
  }

 private:
  bool first_ = true;
};

class RegexReplaceStage : public WholeTokenStage {
 public:
  RegexReplaceStage(std::shared_ptr<const Pattern> pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}

 protected:
  void token(std::string_view token) override {
    size_t done = 0;
    pattern_->each_match(token, [&](size_t begin, size_t end) {
      emit(token.substr(done, begin - done));
      emit(content_);
      done = end;
    });
    emit_token(token.substr(done));
  }

 private:
  std::shared_ptr<const Pattern> pattern_;
  std::string content_;
};

class MetaspaceStage : public WholeTokenStage {
 public:
  explicit MetaspaceStage(MetaspaceOptions options) : options_(std::move(options)) {}

 protected:
  void token(std::string_view token) override {
    const bool drops = first_ && options_.prepend != MetaspaceOptions::Prepend::kNever;
    first_ = false;
    emit_token(replaced(token, options_.replacement, drops ? "" : " "));
  }

 private:
  MetaspaceOptions options_;
  bool first_ = true;
};

class WordPieceStage : public WholeTokenStage {
 public:
  WordPieceStage(std::string prefix, bool clean_up) : prefix_(std::move(prefix)), clean_up_(clean_up) {}

 protected:
  void token(std::string_view token) override {
    std::string text(token);
    if (!first_) text = token.starts_with(prefix_) ? text.substr(prefix_.size()) : " " + text;
    first_ = false;
    emit_token(clean_up_ ? cleaned_up(std::move(text)) : text);
  }

 private:
  std::string prefix_;
  bool clean_up_;
  bool first_ = true;
};

// A suffix marks the end of a word: a space, but for the last token's.
class SuffixStage : public WholeTokenStage {
 public:
  explicit SuffixStage(std::string suffix) : suffix_(std::move(suffix)) {}
  void finish() override {
    if (last_.has_value()) emit_token(replaced(*last_, suffix_, ""));
    last_.reset();
    next().finish();
  }

 protected:
  void token(std::string_view token) override {
    if (last_.has_value()) emit_token(replaced(*last_, suffix_, " "));
    last_ = token;
  }

 private:
  std::string suffix_;
  std::optional<std::string> last_;
};

// Connectionist temporal classification: equal tokens in a row are one.
class CtcStage : public WholeTokenStage {
 public:
  CtcStage(std::string pad, std::string delimiter, bool clean_up)
      : pad_(std::move(pad)), delimiter_(std::move(delimiter)), clean_up_(clean_up) {}

 protected:
  void token(std::string_view token) override {
    if (last_ == token) return;
    last_ = token;
    std::string text = replaced(token, pad_, "");
    if (clean_up_) text = replaced(cleaned_up(std::move(text)), delimiter_, " ");
    if (!text.empty()) emit_token(text);
  }

 private:
  std::string pad_;
  std::string delimiter_;
  bool clean_up_;
  std::optional<std::string> last_;
};

using Stages = std::vector<Decoder::MakeStage>;

Status add_replace(JsonFields& fields, Stages& out) {
  GRAFT_TRY(Pattern pattern, Pattern::from_json(fields.any("pattern"), fields.path_of("pattern")));
  GRAFT_TRY(const std::string content, fields.string("content"));
  if (!pattern.literal().empty()) {
    out.emplace_back(
        [literal = pattern.literal(), content] { return std::make_unique<LiteralReplaceStage>(literal, content); });
    return {};
  }
  const auto shared = std::make_shared<const Pattern>(std::move(pattern));
  out.emplace_back([shared, content] { return std::make_unique<RegexReplaceStage>(shared, content); });
  return {};
}

Status add_strip(JsonFields& fields, Stages& out) {
  GRAFT_TRY(const std::string character, read_character(fields, "content"));
  std::array<size_t, 2> counts{};
  constexpr std::array<const char*, 2> kKeys = {"start", "stop"};
  for (size_t i = 0; i < counts.size(); ++i) {
    const nlohmann::json* count = fields.any(kKeys[i]);
    if (count == nullptr || !count->is_number_unsigned()) {
      return invalid(fields.path_of(kKeys[i]) + ": expected a number of characters");
    }
    counts[i] = count->get<size_t>();
  }
  out.emplace_back([character, counts] { return make_strip_stage(character, counts[0], counts[1]); });
  return {};
}

Status add_word_piece(JsonFields& fields, Stages& out) {
  GRAFT_TRY(const std::string prefix, fields.string("prefix"));
  GRAFT_TRY(const bool clean_up, fields.boolean("cleanup", std::nullopt));
  out.emplace_back([prefix, clean_up] { return std::make_unique<WordPieceStage>(prefix, clean_up); });
  return {};
}

Status add_ctc(JsonFields& fields, Stages& out) {
  GRAFT_TRY(const std::string pad, fields.string("pad_token"));
  GRAFT_TRY(const std::string delimiter, fields.string("word_delimiter_token"));
  GRAFT_TRY(const bool clean_up, fields.boolean("cleanup", std::nullopt));
  out.emplace_back([pad, delimiter, clean_up] { return std::make_unique<CtcStage>(pad, delimiter, clean_up); });
  return {};
}

Status add(const nlohmann::json& spec, const std::string& path, int depth, Stages& out);

Status add_sequence(JsonFields& fields, int depth, Stages& out) {
  if (depth == kDeepestSequence) return invalid(fields.path() + ": sequences nested too deep");
  GRAFT_TRY(const nlohmann::json* specs, fields.array("decoders"));
  for (size_t i = 0; i < specs->size(); ++i) {
    GRAFT_CHECK_OK(add((*specs)[i], fields.path_of("decoders[" + std::to_string(i) + "]"), depth + 1, out));
  }
  return {};
}

Status add_typed(const std::string& type, JsonFields& fields, int depth, Stages& out) {
  if (type == "Sequence") return add_sequence(fields, depth, out);
  if (type == "Replace") return add_replace(fields, out);
  if (type == "Strip") return add_strip(fields, out);
  if (type == "WordPiece") return add_word_piece(fields, out);
  if (type == "CTC") return add_ctc(fields, out);
  if (type == "ByteLevel") {
    for (const char* key : {"add_prefix_space", "trim_offsets", "use_regex"}) fields.ignore(key);
    out.emplace_back(make_byte_level_stage);
  } else if (type == "ByteFallback") {
    out.emplace_back(make_byte_fallback_stage);
  } else if (type == "Fuse") {
    out.emplace_back([] { return std::make_unique<FuseStage>(); });
  } else if (type == "BPEDecoder") {
    GRAFT_TRY(const std::string suffix, fields.string("suffix"));
    out.emplace_back([suffix] { return std::make_unique<SuffixStage>(suffix); });
  } else if (type == "Metaspace") {
    GRAFT_TRY(const MetaspaceOptions options, read_metaspace(fields));
    out.emplace_back([options] { return std::make_unique<MetaspaceStage>(options); });
  } else {
    return unsupported_type(fields.path(), type,
                            {"BPEDecoder", "ByteFallback", "ByteLevel", "CTC", "Fuse", "Metaspace", "Replace",
                             "Sequence", "Strip", "WordPiece"});
  }
  return {};
}

Status add(const nlohmann::json& spec, const std::string& path, int depth, Stages& out) {
  GRAFT_TRY(JsonFields fields, JsonFields::of(spec, path));
  GRAFT_TRY(const std::string type, fields.string("type"));
  GRAFT_CHECK_OK(add_typed(type, fields, depth, out));
  return fields.done();
}

// transformers' clean_up_tokenization, on the whole text: as kTokenCleanUp but for "do not".
void add_clean_up(std::vector<std::unique_ptr<DecodeStage>>& stages) {
  stages.push_back(std::make_unique<FuseStage>());
  for (const auto& [what, by] : kTokenCleanUp) {
    if (what == " do not") continue;
    stages.push_back(std::make_unique<LiteralReplaceStage>(std::string(what), std::string(by)));
  }
}

}  // namespace

DecodeStream::DecodeStream(std::vector<std::unique_ptr<DecodeStage>> stages) : stages_(std::move(stages)) {
  for (size_t i = 0; i < stages_.size(); ++i) {
    stages_[i]->set_next(i + 1 < stages_.size() ? stages_[i + 1].get() : &collector_);
  }
}

void DecodeStream::push(std::string_view token, std::string& out) {
  collector_.out = &out;
  stages_.front()->text(token);
  stages_.front()->end_token();
}

void DecodeStream::finish(std::string& out) {
  if (std::exchange(finished_, true)) return;
  collector_.out = &out;
  stages_.front()->finish();
}

std::unique_ptr<DecodeStream> Decoder::stream(bool clean_up_spaces) const {
  std::vector<std::unique_ptr<DecodeStage>> stages;
  for (const MakeStage& make : stages_) stages.push_back(make());
  if (clean_up_spaces) add_clean_up(stages);
  if (stages.empty()) stages.push_back(std::make_unique<FuseStage>());  // an empty sequence changes nothing
  return std::make_unique<DecodeStream>(std::move(stages));
}

Result<std::unique_ptr<Decoder>> make_decoder(const nlohmann::json* spec, const std::string& path) {
  Stages stages;
  if (spec == nullptr) {
    stages.emplace_back([] { return std::make_unique<SpacedStage>(); });
  } else {
    GRAFT_CHECK_OK(add(*spec, path, 0, stages));
  }
  return std::make_unique<Decoder>(std::move(stages));
}

}  // namespace graft::text
