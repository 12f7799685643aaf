#include "formats/pattern.h"

#include <oniguruma.h>

#include <array>

#include "base/strings.h"

namespace graft::formats {
namespace {

constexpr size_t kLongestExpression = 10000;
constexpr unsigned long kMostRetries = 1'000'000;
constexpr unsigned int kDeepestStack = 100'000;

std::string explain(int code, OnigErrorInfo* info) {
  std::array<OnigUChar, ONIG_MAX_ERROR_MESSAGE_LEN> text{};
  const int length =
      info == nullptr ? onig_error_code_to_str(text.data(), code) : onig_error_code_to_str(text.data(), code, info);
  return printable(std::string_view(reinterpret_cast<const char*>(text.data()), static_cast<size_t>(length)));
}

// The library wants to be told before its first use; the first call wins.
void initialise_library() {
  static const int ready = [] {
    std::array<OnigEncoding, 1> encodings = {ONIG_ENCODING_UTF8};
    return onig_initialize(encodings.data(), static_cast<int>(encodings.size()));
  }();
  static_cast<void>(ready);
}

const OnigUChar* bytes(std::string_view text) { return reinterpret_cast<const OnigUChar*>(text.data()); }

}  // namespace

struct Pattern::Impl {
  ~Impl() {
    if (regex != nullptr) onig_free(regex);
  }
  std::string expression;
  OnigRegex regex = nullptr;
};

Pattern::Pattern(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Pattern::Pattern(Pattern&&) noexcept = default;
Pattern& Pattern::operator=(Pattern&&) noexcept = default;
Pattern::~Pattern() = default;

Result<Pattern> Pattern::compile(const std::string& expression) {
  if (expression.size() > kLongestExpression) return invalid("a pattern of more than 10000 characters");
  initialise_library();
  auto impl = std::make_unique<Impl>();
  impl->expression = expression;
  // A match starts where we say; that it also ends at the end is part of the expression, so that alternatives are
  // tried.
  const std::string whole = "(?:" + expression + ")(?![\\s\\S])";
  OnigErrorInfo info{};
  const int code = onig_new(&impl->regex, bytes(whole), bytes(whole) + whole.size(), ONIG_OPTION_NONE,
                            ONIG_ENCODING_UTF8, ONIG_SYNTAX_PYTHON, &info);
  if (code != ONIG_NORMAL)
    return invalid("pattern '" + printable(expression) + "' is not a valid expression: " + explain(code, &info));
  return Pattern(std::move(impl));
}

Result<bool> Pattern::full_match(std::string_view text) const {
  OnigMatchParam* limits = onig_new_match_param();
  onig_initialize_match_param(limits);
  onig_set_retry_limit_in_match_of_match_param(limits, kMostRetries);
  onig_set_match_stack_limit_size_of_match_param(limits, kDeepestStack);
  const OnigUChar* begin = bytes(text);
  const OnigUChar* end = begin + text.size();
  const int code = onig_match_with_param(impl_->regex, begin, end, begin, nullptr, ONIG_OPTION_NONE, limits);
  onig_free_match_param(limits);
  if (code == ONIG_MISMATCH) return false;
  if (code >= 0) return true;
  return invalid("pattern '" + printable(impl_->expression) + "': " + explain(code, nullptr));
}

}  // namespace graft::formats
