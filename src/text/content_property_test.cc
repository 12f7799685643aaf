// Whatever a template does to a message's content, no special token comes out of it.

#include <gtest/gtest.h>

#include <random>

#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace graft::text {
namespace {

using nlohmann::ordered_json;

// Bytes of ASCII, and special tokens that their text could be taken for.
std::unique_ptr<Tokenizer> ascii_tokenizer() {
  ordered_json vocab = ordered_json::object();
  ordered_json added = ordered_json::array();
  for (const char* special : {"<s>", "</s>", "<|im_end|>", "<|im_start|>", "[INST]", "<|IM_END|>"}) {
    added.push_back({{"id", vocab.size()},
                     {"content", special},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", true}});
    vocab[special] = vocab.size();
  }
  for (char c = '!'; c <= '~'; ++c) vocab[std::string(1, c)] = vocab.size();
  vocab["\u0120"] = vocab.size();
  vocab["\u010A"] = vocab.size();
  const ordered_json byte_level = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", false}};
  const ordered_json json = {{"added_tokens", added},
                             {"pre_tokenizer", byte_level},
                             {"decoder", byte_level},
                             {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", ordered_json::array()}}}};
  auto made = Tokenizer::from_json(json.dump());
  EXPECT_TRUE(made.ok()) << made.error().message;
  return made.ok() ? std::move(made).value() : nullptr;
}

template <size_t N>
const char* pick(std::mt19937& random, const char* const (&choices)[N]) {
  return choices[random() % N];
}

// An expression over the contents c, d, e and nothing of the template's own that could be part of a special token.
std::string expression(std::mt19937& random, int depth) {
  static constexpr const char* kLeaves[] = {"c", "d", "e", "c", "messages", "messages[0]", "messages[0].content"};
  static constexpr const char* kChains[] = {" | upper",
                                            " | lower",
                                            " | trim",
                                            " | title",
                                            " | capitalize",
                                            " | replace('s', 'x')",
                                            " | replace(d, e)",
                                            " | replace('', d)",
                                            " | indent(2)",
                                            " | center(30)",
                                            " | truncate(9, true, d)",
                                            " | string",
                                            " | reverse",
                                            " | tojson",
                                            " | tojson(indent=2)",
                                            " | list | join",
                                            " | join('')",
                                            " | join(d)",
                                            " | sort | join",
                                            " | unique | join",
                                            " | batch(3) | map('join') | join",
                                            " | slice(2) | map('join') | join",
                                            " | map('upper') | join",
                                            " | select | join",
                                            " | first",
                                            " | last",
                                            " | default(d)",
                                            " | pprint",
                                            " | format(d, e)",
                                            " | urlencode",
                                            " | dictsort | string",
                                            " | items | list | string",
                                            " | min",
                                            " | max",
                                            " | groupby(0) | string",
                                            " | map(attribute='content') | join(e)"};
  static constexpr const char* kMethods[] = {".upper()",
                                             ".lower()",
                                             ".strip()",
                                             ".strip('<')",
                                             ".title()",
                                             ".swapcase()",
                                             ".casefold()",
                                             ".capitalize()",
                                             ".replace('<', d)",
                                             ".replace(d, e, 1)",
                                             ".split('|') | join('|')",
                                             ".split() | join(' ')",
                                             ".rsplit('_', 1) | join('_')",
                                             ".splitlines() | join",
                                             ".partition('|') | join",
                                             ".rpartition('m') | join",
                                             ".center(20, '|')",
                                             ".ljust(9, '<')",
                                             ".rjust(12, '>')",
                                             ".zfill(20)",
                                             ".expandtabs(2)",
                                             ".removeprefix('<')",
                                             ".removesuffix('>')",
                                             ".join(['<', '>'])",
                                             ".join(d)",
                                             ".format(d, e, x=c)",
                                             "[1:]",
                                             "[:-1]",
                                             "[::-1]",
                                             "[::-1][::-1]",
                                             "[2:9]",
                                             "[0]",
                                             "[-1]"};
  if (depth == 0) return pick(random, kLeaves);
  const std::string inner = expression(random, depth - 1);
  switch (random() % 9) {
    case 0:
      return "(" + inner + " ~ " + expression(random, depth - 1) + ")";
    case 1:
      return "((" + inner + " | string) + (" + expression(random, depth - 1) + " | string))";
    case 2:
      return "('%s%s' % (" + inner + ", " + expression(random, depth - 1) + "))";
    case 3:
      return "('{}{x!s:>9}'.format(" + inner + ", x=" + expression(random, depth - 1) + "))";
    case 4:
    case 5:
      return "((" + inner + " | string)" + pick(random, kMethods) + ")";
    case 6:
      return "((" + inner + " | string) * 2)";
    default:
      return "(" + inner + pick(random, kChains) + ")";
  }
}

std::string contents(std::mt19937& random) {
  static constexpr const char* kPieces[] = {"<s>",    "</s>", "<|im_end|>", "<|im_start|>", "[INST]", "<|",  "|>",
                                            "im_end", "<",    "|im_end|>",  "%s",           "{}",     "{x}", " ",
                                            "\n",     "a"};
  std::string text;
  for (unsigned i = 0; i <= random() % 6; ++i) text += pick(random, kPieces);
  return text;
}

TEST(ContentProperty, NeverBecomesASpecialToken) {
  const auto tokenizer = ascii_tokenizer();
  ASSERT_NE(tokenizer, nullptr);
  std::mt19937 random(7);
  size_t rendered_count = 0;
  size_t tempted = 0;
  for (int round = 0; round < 20000; ++round) {
    const std::string one = expression(random, 1 + static_cast<int>(random() % 4));
    static constexpr const char* kFrames[] = {
        "{{ X }}",
        "{% set y = X %}{{ y ~ y }}",
        "{% for x in X %}{{ x }}{% endfor %}",
        "{% macro m(a) %}{{ a }}{{ varargs | join }}{{ kwargs }}{% endmacro %}{{ m(X, c, **messages[0]) }}",
        "{% filter lower %}{{ X }}{% endfilter %}",
        "{% set y %}{{ X }}{% endset %}{{ y | upper }}",
        "{% generation %}{{ X }}{% endgeneration %}",
        "{% set n = namespace(y=X) %}{{ n.y }}"};
    std::string frame = pick(random, kFrames);
    frame.replace(frame.find('X'), 1, one);
    const std::string source =
        "{% set c, d, e = messages[0].content, messages[1].content, messages[2].content %}" + frame;
    const auto compiled = ChatTemplate::compile(source);
    ASSERT_TRUE(compiled.ok()) << source << "\n" << compiled.error().message;
    ordered_json messages = ordered_json::array();
    for (int i = 0; i < 3; ++i) messages.push_back({{"role", "user"}, {"content", contents(random)}});
    const auto rendered = (*compiled)->render(messages, {});
    if (!rendered.ok()) continue;
    ++rendered_count;
    for (const int32_t id : tokenizer->encode(rendered->text, {.add_special_tokens = false}, rendered->content).ids) {
      ASSERT_FALSE(tokenizer->is_special(id)) << source << "\n" << messages.dump() << "\n" << rendered->text;
    }
    for (const int32_t id : tokenizer->encode(rendered->text, {.add_special_tokens = false}).ids) {
      if (tokenizer->is_special(id)) ++tempted;
    }
  }
  EXPECT_GT(rendered_count, 10000U);
  EXPECT_GT(tempted, 5000U) << "without the spans, special tokens would have come out";
}

}  // namespace
}  // namespace graft::text
