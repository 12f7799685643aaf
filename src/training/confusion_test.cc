#include "training/confusion.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/philox.h"
#include "base/test_python.h"

namespace graft::training {
namespace {

using testing::HasSubstr;

TEST(Confusion, ScoresAreThoseOfScikitLearnsDefinitions) {
  // Precision, recall and F1 by counting pairs, written out in Python; "never" is nobody's label and nobody's answer.
  Confusion confusion({"a", "b", "c", "never"});
  nlohmann::json pairs = nlohmann::json::array();
  PhiloxStream random(3, 0);
  for (int i = 0; i < 200; ++i) {
    const auto reference = static_cast<size_t>(random.below(3));
    const auto answer = random.below(3) == 0 ? static_cast<size_t>(random.below(3)) : reference;
    confusion.add(reference, answer);
    pairs.push_back({reference, answer});
  }
  const std::string printed = run_python(R"py(
import json, sys
pairs = json.loads(sys.argv[1])
f1 = []
for label in range(4):
    true = sum(a == b == label for a, b in pairs)
    precision = true / max(1, sum(b == label for a, b in pairs))
    recall = true / max(1, sum(a == label for a, b in pairs))
    if any(label in pair for pair in pairs):
        f1.append(2 * precision * recall / (precision + recall))
print(json.dumps({"accuracy": sum(a == b for a, b in pairs) / len(pairs), "f1": f1, "macro": sum(f1) / len(f1)}))
)py",
                                         {pairs.dump()});
  const auto expected = nlohmann::json::parse(printed);
  EXPECT_DOUBLE_EQ(confusion.accuracy(), expected["accuracy"].get<double>());
  EXPECT_NEAR(confusion.macro_f1(), expected["macro"].get<double>(), 1e-12);
  for (size_t i = 0; i < 3; ++i) EXPECT_NEAR(confusion.score(i).f1, expected["f1"][i].get<double>(), 1e-12);
  EXPECT_EQ(confusion.rows(), 200);
}

TEST(Confusion, WithoutRowsEverythingIsZero) {
  const Confusion confusion({"a", "b"});
  EXPECT_EQ(confusion.accuracy(), 0.0);
  EXPECT_EQ(confusion.macro_f1(), 0.0);
}

TEST(Confusion, TheSectionEscapesLabelsAndShowsTheMostFrequentOfMany) {
  std::vector<std::string> labels = {"<b>"};
  for (int i = 0; i < 40; ++i) labels.push_back("label" + std::to_string(i));
  Confusion confusion(labels);
  confusion.add(0, 0);
  confusion.add(40, 0);
  const std::string html = confusion_section(confusion);
  EXPECT_THAT(html, HasSubstr("&lt;b&gt;"));
  EXPECT_THAT(html, HasSubstr("label39"));
  EXPECT_THAT(html, HasSubstr("24 most frequent of 41"));
}

}  // namespace
}  // namespace graft::training
