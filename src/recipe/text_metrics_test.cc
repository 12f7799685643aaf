#include "recipe/text_metrics.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/philox.h"
#include "base/test_directory.h"
#include "base/test_python.h"

namespace graft::recipe {
namespace {

std::string random_text(PhiloxStream& random) {
  static const std::vector<std::string> kWords = {"the",
                                                  "The",
                                                  "a",
                                                  "an",
                                                  "cat",
                                                  "Cat",
                                                  "sat,",
                                                  "on-mat",
                                                  "42",
                                                  "3.14",
                                                  "\xC3\x89t\xC3\xA9",
                                                  "\xC4\xB0x",
                                                  "...",
                                                  "_a_",
                                                  "the-the",
                                                  "u.s.",
                                                  "don't",
                                                  "\xE2\x80\x94the\xE2\x80\x94",
                                                  "\xE6\x97\xA5\xE6\x9C\xAC",
                                                  "ANOTHER"};
  static const std::vector<std::string> kGaps = {" ", "  ", "\n", "\t", "", "\xC2\xA0", ", "};
  std::string text;
  for (uint64_t i = random.below(9); i > 0; --i) {
    text += kWords[random.below(kWords.size())] + kGaps[random.below(kGaps.size())];
  }
  return text;
}

// The definitions once more: SQuAD's evaluation, rouge_score without a stemmer, Python's json without its extensions.
TEST(TextMetrics, EqualTheirDefinitions) {
  PhiloxStream random(6, 1);
  nlohmann::json pairs;
  for (int i = 0; i < 500; ++i) pairs.push_back({random_text(random), random_text(random)});
  pairs.push_back({"the", "a"});
  pairs.push_back({"", ""});
  pairs.push_back({"x", ""});
  for (const char* json : {"{\"a\": 1}", " [1, 2]\n", "{\"a\": 1", "3", "\"x\"", "nul", "{a: 1}", "NaN", "", "[1,]",
                           "```json\n{}\n```", "{\"a\": 1} x"}) {
    pairs.push_back({"{}", json});
  }
  TestDirectory directory;
  std::ofstream(directory / "pairs.json") << pairs;
  const std::string printed = run_python(R"(
import collections, json, re, string, sys
def squad(s):
    s = "".join(c for c in s.lower() if c not in set(string.punctuation))
    return re.sub(r"\b(a|an|the)\b", " ", s).split()
def f(common, reference, answer):
    if common == 0: return 0.0
    p, r = common / answer, common / reference
    return 2 * p * r / (p + r)
def f1(reference, answer):
    r, a = squad(reference), squad(answer)
    if not r or not a: return float(r == a)
    return f(sum((collections.Counter(r) & collections.Counter(a)).values()), len(r), len(a))
def rouge(reference, answer):
    r, a = [re.sub(r"[^a-z0-9]+", " ", s.lower()).split() for s in (reference, answer)]
    table = [[0] * (len(a) + 1) for _ in range(len(r) + 1)]
    for i, x in enumerate(r):
        for j, y in enumerate(a):
            table[i + 1][j + 1] = table[i][j] + 1 if x == y else max(table[i][j + 1], table[i + 1][j])
    return f(table[-1][-1], len(r), len(a))
def refuse(name): raise ValueError(name)
def valid(answer):
    try: json.loads(answer, parse_constant=refuse)
    except ValueError: return 0.0
    return 1.0
print(json.dumps([[f1(r, a), rouge(r, a), valid(a)] for r, a in json.load(open(sys.argv[1]))]))
)",
                                         {(directory / "pairs.json").string()});
  const auto expected = nlohmann::json::parse(printed, nullptr, false);
  ASSERT_TRUE(expected.is_array()) << printed;
  for (size_t i = 0; i < pairs.size(); ++i) {
    const auto reference = pairs[i][0].get<std::string>();
    const auto answer = pairs[i][1].get<std::string>();
    EXPECT_DOUBLE_EQ(token_f1(reference, answer), expected[i][0].get<double>()) << pairs[i];
    EXPECT_DOUBLE_EQ(rouge_l(reference, answer), expected[i][1].get<double>()) << pairs[i];
    EXPECT_EQ(json_validity(reference, answer), expected[i][2].get<double>()) << pairs[i];
  }
}

TEST(TextMetrics, AreFoundByName) {
  for (const std::string& name : text_metric_names()) EXPECT_NE(text_metric(name), nullptr);
  EXPECT_EQ(text_metric("bleu"), nullptr);
  EXPECT_EQ(text_metric("exact_match")("Spam.", " spam"), 1);
}

TEST(TextMetrics, TakeBytesThatAreNoText) {
  EXPECT_EQ(token_f1("\xFF\xFE x", "\xFF\xFE x"), 1);
  EXPECT_EQ(rouge_l("\xC3 x", "x \xE2\x82"), 1);
}

}  // namespace
}  // namespace graft::recipe
