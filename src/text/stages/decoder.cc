#include "text/stages/decoder.h"

#include "text/stages/byte_level.h"
#include "text/stages/json_fields.h"
#include "text/unicode/lossy_utf8.h"

namespace graft::text {
namespace {

class SpacedStream : public DecodeStream {
 public:
  void push(std::string_view token, std::string& out) override {
    if (!first_) out += ' ';
    first_ = false;
    out += token;
  }
  void finish(std::string& /*out*/) override {}

 private:
  bool first_ = true;
};

// The bytes of all tokens are one text; a character may be spread over several tokens.
class ByteLevelStream : public DecodeStream {
 public:
  void push(std::string_view token, std::string& out) override {
    const auto bytes = ByteAlphabet::get().decode(token);
    pending_ += bytes.has_value() ? std::string_view(*bytes) : token;
    size_t done = 0;
    while (done < pending_.size()) {
      const std::string_view rest = std::string_view(pending_).substr(done);
      const Utf8Run run = next_utf8_run(rest);
      if (run.kind == Utf8Run::kIncomplete) break;
      out += run.kind == Utf8Run::kValid ? rest.substr(0, run.size) : kReplacement;
      done += run.size;
    }
    pending_.erase(0, done);
  }
  void finish(std::string& out) override {
    if (!pending_.empty()) out += kReplacement;  // at most three bytes, the beginning of one character
    pending_.clear();
  }

 private:
  static constexpr std::string_view kReplacement = "\xEF\xBF\xBD";
  std::string pending_;
};

template <class Stream>
class DecoderOf : public Decoder {
 public:
  [[nodiscard]] std::unique_ptr<DecodeStream> stream() const override { return std::make_unique<Stream>(); }
};

}  // namespace

Result<std::unique_ptr<Decoder>> make_decoder(const nlohmann::json* spec, const std::string& path) {
  if (spec == nullptr) return std::unique_ptr<Decoder>(std::make_unique<DecoderOf<SpacedStream>>());
  GRAFT_TRY(JsonFields fields, JsonFields::of(*spec, path));
  GRAFT_TRY(const std::string type, fields.string("type"));
  if (type != "ByteLevel") return unsupported_type(path, type, {"ByteLevel"});
  for (const char* key : {"add_prefix_space", "trim_offsets", "use_regex"}) fields.ignore(key);
  GRAFT_CHECK_OK(fields.done());
  return std::unique_ptr<Decoder>(std::make_unique<DecoderOf<ByteLevelStream>>());
}

}  // namespace graft::text
