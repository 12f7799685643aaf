#include "text/stages/normalizers.h"
#include "text/stages/pattern.h"
#include "text/unicode/text_rewrite.h"

namespace graft::text {
namespace {

class ReplaceNormalizer : public OnePassNormalizer {
 public:
  ReplaceNormalizer(Pattern pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}
  [[nodiscard]] bool may_change(std::string_view text) const override { return pattern_.may_match(text); }

 protected:
  [[nodiscard]] std::string rewrite(std::string_view text, OffsetMap* map) const override {
    TextRewrite out(text, map);
    pattern_.each_match(text, [&](size_t begin, size_t end) {
      out.keep(begin);
      out.substitute(end, content_);
    });
    return out.keep_rest();
  }

 private:
  Pattern pattern_;
  std::string content_;
};

}  // namespace

Result<std::unique_ptr<Normalizer>> make_replace(JsonFields& fields) {
  GRAFT_TRY(Pattern pattern, Pattern::from_json(fields.any("pattern"), fields.path_of("pattern")));
  GRAFT_TRY(std::string content, fields.string("content"));
  return std::unique_ptr<Normalizer>(std::make_unique<ReplaceNormalizer>(std::move(pattern), std::move(content)));
}

}  // namespace graft::text
