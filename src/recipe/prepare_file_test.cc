#include "recipe/prepare_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <thread>

#include "base/files.h"
#include "base/philox.h"
#include "base/test_directory.h"
#include "recipe/dataset_cache.h"
#include "recipe/test_model.h"

namespace graft::recipe {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class PreparingFiles : public testing::Test {
 protected:
  PreparingFiles() {
    setenv("GRAFT_HOME", (dir_ / "home").c_str(), 1);
    unsetenv("GRAFT_DATASET_CACHE");
    config_.preprocessing.split = {"random", {0.7, 0.2, 0.1}, "split"};
    config_.preprocessing.invalid_rows = "drop";
    auto made = RowEncoder::create({tokenizer_.get(), counting_chat(), {kImEnd}}, false);
    EXPECT_TRUE(made.ok());
    encoder_.emplace(std::move(made).value());
  }
  ~PreparingFiles() override { unsetenv("GRAFT_DATASET_CACHE"); }

  // A chat template that counts how often it is asked: rows that are not encoded again do not ask.
  ChatRenderer counting_chat() {
    return [this](const auto& messages, const auto& tools, bool add) {
      ++rendered_;
      if (stop_after_ > 0 && rendered_ >= stop_after_) stop_ = true;
      return render_chatml(messages, tools, add);
    };
  }

  std::string write_chats(int count, const std::string& name = "d.jsonl") {
    std::ofstream file(dir_ / name);
    PhiloxStream random(3, 3);
    for (int i = 0; i < count; ++i) {
      if (i % 50 == 49) {
        file << R"({"messages": []})" << "\n";
        continue;
      }
      const std::string question(1 + random.below(40), 'q');
      file << R"({"messages": [{"role": "user", "content": ")" << question << i
           << R"("}, {"role": "assistant", "content": "a)" << random.below(5) << "\"}]}\n";
    }
    return (dir_ / name).string();
  }

  Result<PreparedFile> prepare(const std::string& path, const std::string& text = "text") {
    rendered_ = 0;
    notes_.clear();
    PrepareOptions options;
    options.max_length = 60;
    options.threads = 2;
    options.stop = &stop_;
    options.on_note = [this](const std::string& line) { notes_.push_back(line); };
    return prepare_file(config_, *encoder_, text, path, options);
  }

  // Everything that a run sees of its data.
  static std::string all(const PreparedFile& file) {
    const PreparedData& data = file.data;
    std::ostringstream text;
    text << file.sha256 << data.digest << data.rows << " " << data.invalid << " " << data.truncated << " "
         << data.longest << data.first_invalid;
    for (const auto& [reason, rows] : data.invalid_reasons) text << reason << rows;
    for (const ExampleSet* set : {&data.train, &data.validation, &data.test}) {
      text << "\n" << set->tokens() << " " << set->learned();
      for (const Example& example : all_of(*set)) {
        text << "\n" << example.row << " " << example.label << ":";
        for (size_t i = 0; i < example.tokens.size(); ++i) {
          text << " " << example.tokens[i] << (example.supervised[i] != 0 ? "*" : "");
        }
      }
    }
    for (const PromptExample& prompt : data.prompts) text << "\n" << prompt.prompt << prompt.reference << prompt.row;
    for (const std::string& label : data.labels) text << "\n" << label;
    for (const RowRecord& record : records_of(data)) {
      text << "\n" << record.row << record.tokens << record.exact << record.near << static_cast<int>(record.split);
    }
    return text.str();
  }

  fs::path entry() {
    fs::path found;
    for (const auto& item : fs::directory_iterator(dir_ / "home" / "cache" / "datasets")) {
      if (item.is_directory()) found = item.path();
    }
    return found;
  }

  // What there is without any cache.
  std::string expected(const std::string& path) {
    setenv("GRAFT_DATASET_CACHE", "0", 1);
    const auto data = prepare(path);
    unsetenv("GRAFT_DATASET_CACHE");
    EXPECT_TRUE(data.ok()) << data.error().message;
    return data.ok() ? all(*data) : "";
  }

  TestDirectory dir_;
  std::unique_ptr<text::Tokenizer> tokenizer_ = test_tokenizer();
  std::atomic<int> rendered_ = 0;
  std::atomic<int> stop_after_ = 0;
  std::atomic<bool> stop_ = false;
  std::optional<RowEncoder> encoder_;
  std::vector<std::string> notes_;
  TrainingConfig config_;
};

TEST_F(PreparingFiles, ASecondRunEncodesNothingAndSeesTheSame) {
  const std::string path = write_chats(400);
  const std::string without = expected(path);
  const auto first = prepare(path);
  ASSERT_TRUE(first.ok()) << first.error().message;
  EXPECT_GT(rendered_, 0);
  const auto second = prepare(path);
  ASSERT_TRUE(second.ok()) << second.error().message;
  EXPECT_EQ(rendered_, 0);
  EXPECT_EQ(all(*first), without);
  EXPECT_EQ(all(*second), without);
  EXPECT_THAT(notes_, IsEmpty());
}

TEST_F(PreparingFiles, WhatChangesTheExamplesIsEncodedAnewAndWhatDoesNotIsFound) {
  const std::string path = write_chats(60);
  const auto encodes = [&](const std::string& text = "text") {
    EXPECT_TRUE(prepare(path, text).ok());
    return rendered_ > 0;
  };
  EXPECT_TRUE(encodes());
  EXPECT_FALSE(encodes());
  EXPECT_TRUE(encodes("another tokenizer"));
  config_.trainer.learning_rate = 3;
  config_.adapter.r = 2;
  EXPECT_FALSE(encodes());
  config_.preprocessing.global_max_sequence_length = 20;
  EXPECT_TRUE(encodes());
  config_.random_seed = 7;
  EXPECT_TRUE(encodes());
  std::ofstream(path, std::ios::app) << R"({"messages": [{"role": "user", "content": "u"},
    {"role": "assistant", "content": "a"}]})";
  std::ofstream(path, std::ios::trunc)
      << R"({"messages": [{"role": "user", "content": "u"}, {"role": "assistant", "content": "a"}]})";
  config_.preprocessing.split.probabilities = {1, 0, 0};
  EXPECT_TRUE(encodes());
  EXPECT_EQ(prepare(path)->data.rows, 1);
  EXPECT_FALSE(encodes());
}

TEST_F(PreparingFiles, StratifiedLabelsAreTheSameWhenFound) {
  config_.input_features = {{"text", "text"}};
  config_.output_features = {{"label", "category"}};
  config_.preprocessing.split = {"stratify", {0.5, 0.25, 0.25}, "label"};
  std::ofstream file(dir_ / "d.csv");
  file << "text,label\n";
  for (int i = 0; i < 90; ++i) file << "t" << i << (i % 3 == 0 ? ",rare\n" : ",often\n");
  file.close();
  const std::string path = (dir_ / "d.csv").string();
  const std::string without = expected(path);
  EXPECT_EQ(all(prepare(path).value()), without);
  EXPECT_EQ(all(prepare(path).value()), without);
  EXPECT_THAT(prepare(path)->data.labels, ElementsAre("often", "rare"));
}

TEST_F(PreparingFiles, AStoppedRunGoesOnWhereItWas) {
  const std::string path = write_chats(3000);
  const std::string without = expected(path);
  ASSERT_TRUE(prepare(path, "other").ok());
  const int whole = rendered_;
  stop_after_ = whole / 2;
  const auto stopped = prepare(path);
  ASSERT_FALSE(stopped.ok());
  EXPECT_EQ(stopped.error().kind, ErrorKind::kCancelled);
  EXPECT_THAT(stopped.error().message, HasSubstr("goes on from there"));
  const int done = rendered_;
  stop_ = false;
  stop_after_ = 0;
  const auto resumed = prepare(path);
  ASSERT_TRUE(resumed.ok()) << resumed.error().message;
  EXPECT_EQ(rendered_ + done, whole) << "each row once";
  EXPECT_EQ(all(*resumed), without);
}

TEST_F(PreparingFiles, AJournalThatIsCutAnywhereIsGoneOnFrom) {
  const std::string path = write_chats(120);
  const std::string without = expected(path);
  ASSERT_TRUE(prepare(path).ok());
  const std::string journal = *read_file(entry() / "journal");
  PhiloxStream random(1, 1);
  for (int i = 0; i < 12; ++i) {
    const size_t length = i == 0 ? 0 : i == 1 ? journal.size() - 1 : random.below(journal.size());
    std::ofstream(entry() / "journal", std::ios::binary) << journal.substr(0, length);
    const auto again = prepare(path);
    ASSERT_TRUE(again.ok()) << again.error().message;
    EXPECT_EQ(all(*again), without) << length;
    EXPECT_EQ(*read_file(entry() / "journal"), journal);
  }
}

TEST_F(PreparingFiles, DamageIsFoundAndMadeAnewWithAWarning) {
  const std::string path = write_chats(120);
  const std::string without = expected(path);
  PhiloxStream random(2, 2);
  for (int i = 0; i < 12; ++i) {
    ASSERT_TRUE(prepare(path).ok());
    const auto before = prepare(path);  // reads on from the files that are damaged and replaced
    const fs::path file = entry() / (i % 3 == 0 ? "index" : i % 3 == 1 ? "data" : "journal");
    std::string bytes = *read_file(file);
    if (i < 3) {
      bytes.resize(bytes.size() / 2);
      if (i == 2) bytes += '\n';
    } else {
      bytes[random.below(bytes.size() - 1)] ^= static_cast<char>(1U << random.below(8));
    }
    ASSERT_TRUE(write_file_atomic(file, bytes).ok());
    const auto again = prepare(path);
    ASSERT_TRUE(again.ok()) << again.error().message;
    EXPECT_EQ(all(*again), without) << i;
    EXPECT_THAT(notes_, ElementsAre(HasSubstr("prepared examples are damaged"))) << i;
    EXPECT_EQ(all(*before), without) << i;
  }
}

TEST_F(PreparingFiles, ExamplesThatAreRemovedWhileTheyAreReadStayReadable) {
  const std::string path = write_chats(100);
  const std::string without = expected(path);
  const auto data = prepare(path);
  ASSERT_TRUE(data.ok());
  EXPECT_GT(DatasetCache::from_environment().value()->clear().value(), 0);
  EXPECT_EQ(all(*data), without);
  EXPECT_THAT(DatasetCache::from_environment().value()->list(), IsEmpty());
}

TEST_F(PreparingFiles, TwoAtOnceMakeThemOnce) {
  const std::string path = write_chats(600);
  const std::string without = expected(path);
  PrepareOptions options;
  options.max_length = 60;
  options.threads = 1;
  rendered_ = 0;
  std::vector<std::string> seen(3);
  std::vector<std::thread> threads;
  for (std::string& one : seen) {
    threads.emplace_back([&] {
      const auto data = prepare_file(config_, *encoder_, "text", path, options);
      one = data.ok() ? all(*data) : data.error().message;
    });
  }
  for (std::thread& thread : threads) thread.join();
  const int together = rendered_;
  for (const std::string& one : seen) EXPECT_EQ(one, without);
  ASSERT_TRUE(prepare(path, "other").ok());
  EXPECT_EQ(together, rendered_);
}

TEST_F(PreparingFiles, TheCacheKeepsWhatWasUsedLast) {
  for (const char* name : {"a.jsonl", "b.jsonl", "c.jsonl"}) {
    config_.random_seed = name[0];
    ASSERT_TRUE(prepare(write_chats(100, name)).ok());
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  const auto files = [&] {
    std::vector<std::string> names;
    for (const auto& one : DatasetCache::from_environment().value()->list()) {
      names.push_back(fs::path(one.file).filename());
      EXPECT_TRUE(one.finished);
    }
    return names;
  };
  EXPECT_THAT(files(), ElementsAre("c.jsonl", "b.jsonl", "a.jsonl"));
  config_.random_seed = 'a';
  ASSERT_TRUE(prepare((dir_ / "a.jsonl").string()).ok());
  EXPECT_THAT(files(), ElementsAre("a.jsonl", "c.jsonl", "b.jsonl"));
  const int64_t one = DatasetCache::from_environment().value()->list()[0].bytes;
  setenv("GRAFT_DATASET_CACHE", std::to_string(one * 5 / 2).c_str(), 1);
  ASSERT_TRUE(prepare((dir_ / "a.jsonl").string()).ok());
  EXPECT_THAT(files(), ElementsAre("a.jsonl", "c.jsonl"));
}

TEST_F(PreparingFiles, WithoutACacheNothingIsKept) {
  const std::string path = write_chats(50);
  setenv("GRAFT_DATASET_CACHE", "0", 1);
  ASSERT_TRUE(prepare(path).ok());
  ASSERT_TRUE(prepare(path).ok());
  EXPECT_GT(rendered_, 0);
  EXPECT_FALSE(fs::exists(dir_ / "home" / "cache"));
  setenv("GRAFT_DATASET_CACHE", "lots", 1);
  EXPECT_THAT(prepare(path).error().message, HasSubstr("GRAFT_DATASET_CACHE=lots: expected a number of bytes"));
  unsetenv("GRAFT_DATASET_CACHE");
  ASSERT_TRUE(make_directories(dir_ / "home").ok());
  std::ofstream(dir_ / "home" / "cache") << "in the way";
  ASSERT_TRUE(prepare(path).ok());
  EXPECT_THAT(notes_, ElementsAre(HasSubstr("prepared examples are not kept: ")));
}

TEST_F(PreparingFiles, BadRowsAreErrorsEachTimeAndLeaveNothing) {
  config_.preprocessing.invalid_rows = "refuse";
  const std::string path = write_chats(120);
  for (int i = 0; i < 2; ++i) {
    const auto data = prepare(path);
    ASSERT_FALSE(data.ok());
    EXPECT_THAT(data.error().message, HasSubstr("d.jsonl: row 50: messages: must be a list"));
    EXPECT_THAT(DatasetCache::from_environment().value()->list(), IsEmpty());
  }
}

TEST(ByteCounts, AreReadWithTheirUnits) {
  EXPECT_EQ(parse_byte_count("0"), 0U);
  EXPECT_EQ(parse_byte_count("1048576"), 1048576U);
  EXPECT_EQ(parse_byte_count("1.5KiB"), 1536U);
  EXPECT_EQ(parse_byte_count("2 GB"), 2000000000U);
  EXPECT_EQ(parse_byte_count("1g"), uint64_t{1} << 30);
  for (const char* bad : {"", "x", "-1", "1Q", "1GX", "nan", "1e300", "5 GiB x"}) {
    EXPECT_FALSE(parse_byte_count(bad).has_value()) << bad;
  }
}

}  // namespace
}  // namespace graft::recipe
