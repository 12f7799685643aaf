#include "grammar/search_pattern.h"

#include <oniguruma.h>

#include <array>
#include <mutex>
#include <utility>

namespace graft::grammar {
namespace {

constexpr unsigned long kMostRetries = 1'000'000;  // some tens of milliseconds

void initialise() {
  static std::once_flag once;
  std::call_once(once, [] {
    std::array<OnigEncoding, 1> encodings{ONIG_ENCODING_UTF8};
    onig_initialize(encodings.data(), static_cast<int>(encodings.size()));
  });
}

const OnigUChar* bytes(std::string_view text) {
  return reinterpret_cast<const OnigUChar*>(text.data());  // NOLINT: both are bytes
}

}  // namespace

struct SearchPattern::Impl {
  OnigRegex regex = nullptr;
  ~Impl() {
    if (regex != nullptr) onig_free(regex);
  }
};

SearchPattern::SearchPattern(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
SearchPattern::~SearchPattern() = default;

std::shared_ptr<const SearchPattern> SearchPattern::compile(std::string_view pattern) {
  initialise();
  auto impl = std::make_unique<Impl>();
  const OnigOptionType options =
      ONIG_OPTION_SINGLELINE | ONIG_OPTION_WORD_IS_ASCII | ONIG_OPTION_DIGIT_IS_ASCII | ONIG_OPTION_SPACE_IS_ASCII;
  OnigErrorInfo info;
  const OnigUChar* begin = bytes(pattern);
  if (onig_new(&impl->regex, begin, begin + pattern.size(), options, ONIG_ENCODING_UTF8, ONIG_SYNTAX_JAVA, &info) !=
      ONIG_NORMAL) {
    return nullptr;
  }
  return std::shared_ptr<const SearchPattern>(new SearchPattern(std::move(impl)));
}

SearchPattern::Outcome SearchPattern::search(std::string_view text) const {
  const std::unique_ptr<OnigMatchParam, void (*)(OnigMatchParam*)> param(onig_new_match_param(), onig_free_match_param);
  onig_initialize_match_param(param.get());
  onig_set_retry_limit_in_match_of_match_param(param.get(), kMostRetries);
  onig_set_retry_limit_in_search_of_match_param(param.get(), kMostRetries);
  const OnigUChar* begin = bytes(text);
  const OnigUChar* end = begin + text.size();
  const int found =
      onig_search_with_param(impl_->regex, begin, end, begin, end, nullptr, ONIG_OPTION_NONE, param.get());
  if (found >= 0) return Outcome::kFound;
  return found == ONIG_MISMATCH ? Outcome::kMissing : Outcome::kTooSlow;
}

}  // namespace graft::grammar
