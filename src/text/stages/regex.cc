#include "text/stages/regex.h"

#include <oniguruma.h>

#include <algorithm>
#include <cstdio>

#include "base/strings.h"
#include "base/utf8.h"
#include "text/unicode/code_points.h"
#include "text/unicode/tables.h"

namespace graft::text {
namespace {

// Steps back within one search: patterns of real tokenizers stay linear in the run of characters they look at.
unsigned long most_retries(size_t text_size) { return 1'000'000 + 64 * static_cast<unsigned long>(text_size); }

const OnigUChar* bytes_of(std::string_view text) { return reinterpret_cast<const OnigUChar*>(text.data()); }

bool initialize_library() {
  static const int status = [] {
    OnigEncoding encodings[] = {ONIG_ENCODING_UTF8};
    return onig_initialize(encodings, 1);
  }();
  return status == ONIG_NORMAL;
}

std::string hex(char32_t c) {
  char digits[16];
  std::snprintf(digits, sizeof digits, "\\x{%X}", static_cast<unsigned>(c));
  return digits;
}

const NewerCategory* find_newer(std::string_view name) {
  const auto categories = newer_categories();
  const auto found =
      std::find_if(categories.begin(), categories.end(), [&](const NewerCategory& c) { return c.name == name; });
  return found == categories.end() ? nullptr : &*found;
}

// A set that holds `escape` and the newer members of some categories: [\p{L}\x{1C89}-\x{1C8A}...].
std::string extended_set(std::string_view escape, std::initializer_list<std::string_view> categories, bool negated) {
  std::string set = negated ? "[^" : "[";
  set += escape;
  for (const std::string_view name : categories) {
    const NewerCategory* newer = find_newer(name);
    if (newer == nullptr) continue;
    for (const CodePointRange& range : newer->ranges) set += hex(range.low) + "-" + hex(range.high);
  }
  return set + "]";
}

// What an escape at pattern[i] == '\\' becomes; `length` receives how much of the pattern it takes.
std::string rewritten_escape(std::string_view pattern, size_t i, size_t* length) {
  *length = std::min<size_t>(2, pattern.size() - i);
  const char kind = *length == 2 ? pattern[i + 1] : '\0';
  if (kind == 'w' || kind == 'W') return extended_set("\\w", {"L", "M", "N"}, kind == 'W');
  if (kind == 'd' || kind == 'D') return extended_set("\\d", {"Nd"}, kind == 'D');
  if ((kind != 'p' && kind != 'P') || i + 2 >= pattern.size() || pattern[i + 2] != '{') {
    return std::string(pattern.substr(i, *length));
  }
  const size_t end = pattern.find('}', i);
  if (end == std::string_view::npos) return std::string(pattern.substr(i, *length));
  *length = end + 1 - i;
  std::string_view name = pattern.substr(i + 3, end - i - 3);
  const bool caret = !name.empty() && name[0] == '^';
  if (caret) name.remove_prefix(1);
  if (find_newer(name) == nullptr) return std::string(pattern.substr(i, *length));
  return extended_set("\\p{" + std::string(name) + "}", {name}, (kind == 'P') != caret);
}

}  // namespace

std::string with_newer_unicode(std::string_view pattern) {
  std::string rewritten;
  for (size_t i = 0; i < pattern.size();) {
    if (pattern[i] != '\\') {
      rewritten += pattern[i++];
      continue;
    }
    size_t length = 0;
    rewritten += rewritten_escape(pattern, i, &length);
    i += length;
  }
  return rewritten;
}

struct Regex::Impl {
  regex_t* regex = nullptr;
  ~Impl() {
    if (regex != nullptr) onig_free(regex);
  }
};

Regex::Regex(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Regex::~Regex() = default;

Result<std::unique_ptr<Regex>> Regex::compile(std::string_view pattern) {
  constexpr size_t kLongestPattern = 64 << 10;
  if (pattern.size() > kLongestPattern) return invalid("regular expression longer than 64 KiB");
  if (!is_valid_utf8(pattern)) return invalid("regular expression is not valid UTF-8");
  if (!initialize_library()) return internal_error("the regular expression library failed to start");
  const std::string full = with_newer_unicode(pattern);
  auto impl = std::make_unique<Impl>();
  OnigErrorInfo info{};
  const OnigUChar* begin = bytes_of(full);
  const int status = onig_new(&impl->regex, begin, begin + full.size(), ONIG_OPTION_NONE, ONIG_ENCODING_UTF8,
                              ONIG_SYNTAX_DEFAULT, &info);
  if (status != ONIG_NORMAL) {
    OnigUChar message[ONIG_MAX_ERROR_MESSAGE_LEN];
    onig_error_code_to_str(message, status, &info);
    return invalid("regular expression '" + printable(pattern) +
                   "': " + printable(reinterpret_cast<const char*>(message)));
  }
  return std::unique_ptr<Regex>(new Regex(std::move(impl)));
}

struct Regex::Scan::State {
  State(const Regex::Impl& used, std::string_view searched) : regex(used), text(searched) {
    if (param == nullptr) return;
    onig_initialize_match_param(param);
    onig_set_retry_limit_in_match_of_match_param(param, most_retries(text.size()));
    onig_set_retry_limit_in_search_of_match_param(param, most_retries(text.size()));
  }
  ~State() {
    if (param != nullptr) onig_free_match_param(param);
    onig_region_free(region, 1);
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  const Regex::Impl& regex;
  std::string_view text;
  OnigRegion* region = onig_region_new();
  OnigMatchParam* param = onig_new_match_param();
  size_t position = 0;
  size_t last_end = 0;
  bool matched_before = false;
};

Regex::Scan::Scan(const Regex& regex, std::string_view text) : state_(std::make_unique<State>(*regex.impl_, text)) {}
Regex::Scan::~Scan() = default;

bool Regex::Scan::next(RegexMatch* match) {
  State& s = *state_;
  if (s.region == nullptr || s.param == nullptr) return false;
  const OnigUChar* begin = bytes_of(s.text);
  const OnigUChar* end = begin + s.text.size();
  while (s.position <= s.text.size()) {
    onig_region_clear(s.region);
    const int found =
        onig_search_with_param(s.regex.regex, begin, end, begin + s.position, end, s.region, ONIG_OPTION_NONE, s.param);
    if (found < 0) return false;
    *match = {static_cast<size_t>(s.region->beg[0]), static_cast<size_t>(s.region->end[0])};
    if (match->begin == match->end && s.matched_before && match->end == s.last_end) {
      s.position += s.position < s.text.size() ? code_point_at(s.text, s.position).size : 1;
      continue;
    }
    s.position = s.last_end = match->end;
    s.matched_before = true;
    return true;
  }
  return false;
}

}  // namespace graft::text
