#include "recipe/data_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "base/philox.h"
#include "base/test_directory.h"
#include "base/test_python.h"
#include "recipe/test_model.h"

namespace graft::recipe {
namespace {

using nlohmann::ordered_json;
using testing::HasSubstr;

class Reporting : public testing::Test {
 protected:
  Reporting() {
    config_.preprocessing.split = {"fixed", {0.7, 0.1, 0.2}, "split"};
    config_.preprocessing.invalid_rows = "drop";
    config_.trainer.epochs = 4;
    auto made = RowEncoder::create({tokenizer_.get(), render_chatml, {kImEnd}}, false);
    EXPECT_TRUE(made.ok());
    encoder_.emplace(std::move(made).value());
  }

  Result<PreparedData> read(const std::string& path, int32_t threads = 2) {
    GRAFT_TRY(const auto reader, formats::DatasetReader::open(path));
    PrepareOptions options;
    options.max_length = 60;
    options.prompt_count = 4;
    options.threads = threads;
    return prepare(config_, *encoder_, *reader, "d.jsonl", options);
  }

  // Rows by chance, with equal and nearly equal ones among them, and some without an answer.
  std::string write_rows(int count) {
    const std::string path = (dir_ / "d.jsonl").string();
    std::ofstream file(path);
    PhiloxStream random(8, 8);
    static const std::vector<std::string> kWords = {"a", "A", " ", "  ", "bc", "\n", "long-word-of-letters"};
    for (int i = 0; i < count; ++i) {
      std::string prompt = "p";
      for (uint64_t n = random.below(5); n > 0; --n) prompt += kWords[random.below(kWords.size())];
      const std::string answer = random.below(20) == 0 ? "" : "c" + std::to_string(random.below(3));
      file << ordered_json({{"prompt", prompt},
                            {"completion", answer},
                            {"split", random.below(3) == 0 ? "validation" : "train"}})
                  .dump()
           << "\n";
    }
    return path;
  }

  TestDirectory dir_;
  std::unique_ptr<text::Tokenizer> tokenizer_ = test_tokenizer();
  std::optional<RowEncoder> encoder_;
  TrainingConfig config_;
};

// The same numbers from the rows themselves: a character of this tokenizer is a token.
constexpr const char* kOracle = R"(
import json, math, sys
rows = [json.loads(line) for line in open(sys.argv[1])]
used = [(n, r) for n, r in enumerate(rows, 1) if r["completion"]]
key = lambda r: (r["prompt"], r["completion"])
near = lambda r: tuple(" ".join(text.split()).lower() for text in key(r))
length = lambda r: 2 + len(r["prompt"]) + len(r["completion"])
def same(candidates, earlier):
    exact = near_only = 0
    for index, (n, r) in enumerate(candidates):
        before = earlier(index)
        if any(key(r) == key(o) for o in before): exact += 1
        elif any(near(r) == near(o) for o in before): near_only += 1
    return {"exact": exact, "near": near_only}
lengths = sorted(length(r) for _, r in used)
train = [r for _, r in used if r["split"] == "train"]
held = [(n, r) for n, r in used if r["split"] != "train"]
total = sum(min(60, length(r)) for r in train)
print(json.dumps({
    "rows": len(rows), "train": len(train), "validation": len(held), "invalid": len(rows) - len(used),
    "truncated": sum(l > 60 for l in lengths), "min": lengths[0], "max": lengths[-1],
    **{f"p{p}": lengths[math.ceil(p * len(lengths) / 100) - 1] for p in (50, 90, 95, 99)},
    "duplicates": same(used, lambda index: [r for _, r in used[:index]]), "leaks": same(held, lambda index: train),
    "tokens_per_epoch": total, "tokens": 4 * total,
    "tokens_with_loss_per_epoch": sum(1 + len(r["completion"]) for r in train)}))
)";

TEST_F(Reporting, CountsAreThoseThatPythonFindsInTheRows) {
  const std::string path = write_rows(700);
  const auto data = read(path);
  ASSERT_TRUE(data.ok()) << data.error().message;
  const auto report = to_json(make_data_report(*data, config_, 60).value());
  const std::string answer = run_python(kOracle, {path});
  const auto expected = ordered_json::parse(answer, nullptr, false);
  ASSERT_TRUE(expected.is_object()) << answer;
  for (const char* name : {"rows", "train", "validation", "invalid", "truncated"}) {
    EXPECT_EQ(report[name], expected[name]) << name;
  }
  for (const char* name : {"min", "max", "p50", "p90", "p95", "p99"}) {
    EXPECT_EQ(report["tokens"][name], expected[name]) << name;
  }
  for (const char* name : {"duplicates", "leaks"}) {
    EXPECT_EQ(report[name]["exact"], expected[name]["exact"]) << name;
    EXPECT_EQ(report[name]["near"], expected[name]["near"]) << name;
  }
  for (const char* name : {"tokens_per_epoch", "tokens", "tokens_with_loss_per_epoch"}) {
    EXPECT_EQ(report["billed"][name], expected[name]) << name;
  }
  int64_t in_bars = 0;
  for (const auto& bar : report["tokens"]["histogram"]) in_bars += bar["rows"].get<int64_t>();
  EXPECT_EQ(in_bars, expected["train"].get<int64_t>() + expected["validation"].get<int64_t>());
  EXPECT_LE(report["tokens"]["histogram"].size(), 13U);
}

TEST_F(Reporting, RowsThatAreComparedInManyPassesAreFoundAllTheSame) {
  const auto data = read(write_rows(700));
  ASSERT_TRUE(data.ok()) << data.error().message;
  const auto one = find_same_rows(*data);
  const auto many = find_same_rows(*data, 50);
  ASSERT_TRUE(one.ok() && many.ok());
  for (const auto& same : {&FoundRows::duplicates, &FoundRows::leaks}) {
    EXPECT_GT(((*one).*same).exact, 10);
    EXPECT_EQ(((*one).*same).exact, ((*many).*same).exact);
    EXPECT_EQ(((*one).*same).near, ((*many).*same).near);
    EXPECT_EQ(((*one).*same).examples, ((*many).*same).examples);
    EXPECT_EQ(((*one).*same).examples.size(), 5U);
  }
}

TEST_F(Reporting, TheNumberOfThreadsChangesNothing) {
  const std::string path = write_rows(1500);
  const auto one = read(path, 1);
  ASSERT_TRUE(one.ok()) << one.error().message;
  for (const int32_t threads : {2, 7}) {
    const auto many = read(path, threads);
    ASSERT_TRUE(many.ok());
    EXPECT_EQ(many->digest, one->digest);
    EXPECT_EQ(to_json(make_data_report(*many, config_, 60).value()),
              to_json(make_data_report(*one, config_, 60).value()));
  }
  config_.preprocessing.invalid_rows = "refuse";
  const auto refused = read(path, 1);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(read(path, 7).error().message, refused.error().message) << "the first bad row, not the fastest";
}

TEST_F(Reporting, ThePageShowsBarsAndPairs) {
  std::ofstream(dir_ / "d.jsonl") << R"({"prompt": "p", "completion": "c", "split": "train"}
{"prompt": "P", "completion": "c ", "split": "eval"}
{"prompt": "p", "completion": "c", "split": "train"})";
  const auto data = read((dir_ / "d.jsonl").string());
  ASSERT_TRUE(data.ok()) << data.error().message;
  const std::string page = to_text(make_data_report(*data, config_, 60).value());
  EXPECT_THAT(page, HasSubstr("1 exact, 1 but for case and white space: row 2 equals 1, row 3 equals 1"));
  EXPECT_THAT(page, HasSubstr("0 exact, 1 but for case and white space: row 2 is train row 1"));
  EXPECT_THAT(page, HasSubstr("##########"));
  EXPECT_THAT(page, HasSubstr("the run (4 epochs)         32 tokens"));
}

}  // namespace
}  // namespace graft::recipe
