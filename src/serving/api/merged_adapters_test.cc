// LoRAX's merged_adapters through the native routes. That the arithmetic is PEFT's is tested in formats.
#include <gmock/gmock.h>

#include <filesystem>
#include <set>
#include <thread>

#include "base/files.h"
#include "base/test_directory.h"
#include "formats/dequantise.h"
#include "formats/peft_merge.h"
#include "serving/api/testing/api_test.h"
#include "serving/api/testing/tiny_adapters.h"

namespace graft::serving::api {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::tiny_base;
using testing::write_tiny_adapter;

class MergedAdapters : public testing::ApiTest {
 protected:
  void SetUp() override {
    write_tiny_adapter(home_ / "a", 4, 1);
    write_tiny_adapter(home_ / "b", 4, 2);
    write_tiny_adapter(home_ / "wide", 8, 3);
    restart({});
  }

  void restart(MergeCache::Limits limits) {
    ApiConfig config;
    config.adapter_directory = home_.path().string();
    config.adapter_sources.merge_folder = home_ / "cache";
    config.adapter_sources.base = tiny_base();
    config.adapter_sources.merges = limits;
    config.catalog.private_folders = {home_ / "cache"};
    start(config);
  }

  static OrderedJson two(OrderedJson more = OrderedJson::object()) {
    OrderedJson merge{{"ids", {"a", "b"}}, {"weights", {0.5, -2}}};
    merge.update(more);
    return {{"merged_adapters", merge}};
  }

  // The directory that the engine was asked for.
  std::string directory(const OrderedJson& parameters) {
    const auto answer = generate(parameters);
    EXPECT_EQ(answer.status, 200) << answer.body;
    return engine_->last().adapter.id;
  }
  std::string refusal(const OrderedJson& parameters, int status = 422) {
    const size_t before = engine_->submitted().size();
    const auto answer = generate(parameters);
    EXPECT_EQ(answer.status, status) << answer.body;
    EXPECT_EQ(engine_->submitted().size(), before);
    return answer.json["error"];
  }

  TestDirectory home_;
};

std::vector<float> values_of(const formats::TensorView& view) {
  std::vector<float> values(static_cast<size_t>(view.elements()));
  EXPECT_TRUE(formats::to_float32(view, values).ok());
  return values;
}

TEST_F(MergedAdapters, TheEngineGetsOneAdapterThatIsTheMerge) {
  const auto answer = generate(two());
  ASSERT_EQ(answer.status, 200) << answer.body;
  EXPECT_EQ(answer.headers.get("x-adapter-id"), "a,b");
  EXPECT_EQ(answer.headers.get("x-adapter-source"), "local");
  const auto ours = formats::PeftAdapter::open(engine_->last().adapter.id, tiny_base());
  ASSERT_TRUE(ours.ok()) << ours.error().message;

  const auto a = formats::PeftAdapter::open(home_ / "a", tiny_base());
  const auto b = formats::PeftAdapter::open(home_ / "b", tiny_base());
  const std::vector<formats::MergePart> parts = {{&*a, 0.5, "a"}, {&*b, -2, "b"}};
  const auto expected = formats::merge_adapters(parts, {});
  ASSERT_EQ(ours->modules().size(), expected->modules.size());
  for (size_t i = 0; i < expected->modules.size(); ++i) {
    EXPECT_EQ(values_of(ours->modules()[i].a), expected->modules[i].a);
    EXPECT_EQ(values_of(ours->modules()[i].b), expected->modules[i].b);
  }
}

TEST_F(MergedAdapters, EqualMergesAreMadeOnceAndDifferentOnesAreDifferent) {
  const std::string linear = directory(two());
  EXPECT_EQ(directory(two({{"merge_strategy", "linear"}, {"density", 0.25}})), linear);
  EXPECT_EQ(directory(two({{"merge_strategy", nullptr}, {"density", 0}, {"majority_sign_method", "frequency"}})),
            linear);
  std::set<std::string> all = {linear};
  all.insert(directory(two({{"merge_strategy", "cat"}})));
  all.insert(directory(two({{"weights", {0.5, 2}}})));
  all.insert(directory(two({{"ids", {"b", "a"}}})));
  for (const char* strategy : {"ties", "dare_linear", "dare_ties"}) {
    all.insert(directory(two({{"merge_strategy", strategy}, {"density", 0.5}})));
    all.insert(directory(two({{"merge_strategy", strategy}, {"density", 0.6}})));
  }
  all.insert(directory(two({{"merge_strategy", "ties"}, {"density", 0.5}, {"majority_sign_method", "frequency"}})));
  EXPECT_EQ(all.size(), 11U);
}

TEST_F(MergedAdapters, DareDependsOnTheSeedOfTheRequestAndNothingElse) {
  const auto with_seed = [&](const char* strategy, OrderedJson seed) {
    OrderedJson parameters = two({{"merge_strategy", strategy}, {"density", 0.5}});
    parameters["seed"] = std::move(seed);
    return directory(parameters);
  };
  EXPECT_EQ(with_seed("dare_linear", 1), with_seed("dare_linear", 1));
  EXPECT_NE(with_seed("dare_linear", 1), with_seed("dare_linear", 2));
  EXPECT_EQ(with_seed("dare_ties", nullptr), with_seed("dare_ties", nullptr));
  EXPECT_EQ(with_seed("ties", 1), with_seed("ties", 2));
}

TEST_F(MergedAdapters, AnAdapterThatChangesUnderItsNameIsMergedAnew) {
  const std::string before = directory(two());
  write_tiny_adapter(home_ / "a", 4, 9);
  const std::string after = directory(two());
  EXPECT_NE(after, before);
  write_tiny_adapter(home_ / "a", 4, 1);  // as it was: the same content, so the same merge
  EXPECT_EQ(directory(two()), before);
}

TEST_F(MergedAdapters, ManyAtOnceShareOneMerge) {
  std::vector<std::thread> clients;
  for (int i = 0; i < 8; ++i) {
    clients.emplace_back([&] { EXPECT_EQ(generate(two({{"merge_strategy", "cat"}})).status, 200); });
  }
  for (auto& client : clients) client.join();
  std::set<std::string> directories;
  for (const auto& request : engine_->submitted()) directories.insert(request.adapter.id);
  EXPECT_EQ(directories.size(), 1U);
}

// LoRAX's router dies of an unknown merge_strategy (its defect 1).
TEST_F(MergedAdapters, BadMergesAreRefusedAndTheServerGoesOn) {
  EXPECT_THAT(refusal(two({{"merge_strategy", "magic"}})), HasSubstr("must be one of linear, cat, ties"));
  EXPECT_THAT(refusal(two({{"density", 1.5}})), HasSubstr("`parameters.merged_adapters.density` must be >= 0.0"));
  EXPECT_THAT(refusal(two({{"merge_strategy", "dare_linear"}})), HasSubstr("`density` must be > 0.0 and <= 1.0"));
  EXPECT_THAT(refusal(two({{"weights", {1e300, 1e300}}, {"merge_strategy", "cat"}})), HasSubstr("overflows"));
  EXPECT_THAT(refusal(two({{"ids", {"a", "wide"}}})),
              AllOf(HasSubstr("Input validation error: linear merges adapters of the same rank only"),
                    HasSubstr("cat merges any ranks")));
  EXPECT_EQ(generate(two({{"ids", {"a", "wide"}}, {"merge_strategy", "cat"}})).status, 200);
  EXPECT_THAT(refusal(two({{"ids", {"a", "nowhere-\xC3\xBC"}}}), 424), HasSubstr("no adapter_config.json"));
  fs::create_directories(home_ / "broken");
  ASSERT_TRUE(write_file_atomic(home_ / "broken/adapter_config.json", "{").ok());
  ASSERT_TRUE(write_file_atomic(home_ / "broken/adapter_model.safetensors", "x").ok());
  EXPECT_THAT(refusal(two({{"ids", {"a", "broken"}}}), 424), HasSubstr("not valid JSON"));
  const std::string huge = R"({"inputs":"hello","parameters":{"merged_adapters":{"ids":["a"],"weights":[1e999]}}})";
  EXPECT_THAT(send("POST", "/generate", huge).status, ::testing::AnyOf(400, 422));
  EXPECT_EQ(generate(two()).status, 200);
}

TEST_F(MergedAdapters, AStreamIsServedTooAndSaysWhatIsWrongInTheStream) {
  const auto good = post("/generate_stream", {{"inputs", "hello"}, {"parameters", two()}});
  EXPECT_EQ(good.status, 200);
  EXPECT_GT(good.events.size(), 2U);
  EXPECT_EQ(good.headers.get("x-adapter-id"), "a,b");
  const auto bad = post("/generate_stream", {{"inputs", "hello"}, {"parameters", two({{"ids", {"a", "wide"}}})}});
  EXPECT_EQ(bad.status, 200);
  ASSERT_EQ(bad.events.size(), 1U);
  EXPECT_EQ(bad.event(0)["error_type"], "validation");
}

TEST_F(MergedAdapters, BestOfSequencesShareTheMerge) {
  OrderedJson parameters = two();
  parameters["best_of"] = 2;
  parameters["do_sample"] = true;
  EXPECT_EQ(generate(parameters).status, 200);
  const auto submitted = engine_->submitted();
  ASSERT_EQ(submitted.size(), 2U);
  EXPECT_EQ(submitted[0].adapter, submitted[1].adapter);
}

TEST_F(MergedAdapters, MetricsAndModelListsAreNotFilledByMerges) {
  directory(two());
  EXPECT_THAT(get("/v1/models").body, ::testing::Not(HasSubstr("a,b")));
}

TEST_F(MergedAdapters, TheFolderOfMergesIsNotForRequestsToRead) {
  const std::string merged = directory(two());
  EXPECT_THAT(refusal({{"adapter_id", merged}}), HasSubstr("is a path into a cache"));
  fs::create_symlink(merged, home_ / "link");
  EXPECT_THAT(refusal({{"adapter_id", (home_ / "link").string()}}), HasSubstr("is a path into a cache"));
  EXPECT_THAT(refusal({{"adapter_id", (home_ / "a/../cache").string()}}), HasSubstr("is a path into a cache"));
}

TEST_F(MergedAdapters, OldOnesMakeRoomForNewOnes) {
  restart({.count = 2, .bytes = int64_t{1} << 30});
  const auto weighted = [&](double weight) { return directory(two({{"weights", {weight, 1}}})); };
  const std::string first = weighted(1);
  const std::string second = weighted(2);
  EXPECT_EQ(weighted(1), first);
  const std::string third = weighted(3);
  EXPECT_TRUE(fs::exists(first));
  EXPECT_FALSE(fs::exists(second));
  EXPECT_EQ(weighted(2), second);  // made again
  EXPECT_TRUE(fs::exists(second));
}

class Merges : public ::testing::Test {
 protected:
  Merges() {
    write_tiny_adapter(home_ / "a", 4, 1);
    write_tiny_adapter(home_ / "b", 4, 2);
  }
  LocalMerge merge(double weight) const {
    return {{"a", "b"}, {(home_ / "a").string(), (home_ / "b").string()}, {weight, 1}, {}};
  }
  TestDirectory home_;
};

TEST_F(Merges, WhatRequestsHoldStaysAndMoreAreRefused) {
  MergeCache cache(home_ / "cache", tiny_base(), {.count = 2, .bytes = int64_t{1} << 30});
  auto first = cache.make(merge(1));
  auto second = cache.make(merge(2));
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(cache.make(merge(3)).error().failure, Failure::kOverloaded);
  const std::string kept = second.value().ref.id;
  first = ResolvedAdapter{};  // its request has ended
  ASSERT_TRUE(cache.make(merge(3)).ok());
  EXPECT_TRUE(fs::exists(kept));
  EXPECT_FALSE(cache.find(merge(1)).has_value());
  EXPECT_TRUE(cache.find(merge(2)).has_value());
  EXPECT_EQ(cache.count(), 2U);
  EXPECT_EQ(cache.made(), 3U);
}

TEST_F(Merges, BytesAreBoundedToo) {
  MergeCache probe(home_ / "probe", tiny_base(), {});
  ASSERT_TRUE(probe.make(merge(1)).ok());
  MergeCache cache(home_ / "cache", tiny_base(), {.count = 100, .bytes = 2 * probe.bytes()});
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(cache.make(merge(i + 1)).ok());
  EXPECT_EQ(cache.count(), 2U);
  MergeCache small(home_ / "small", tiny_base(), {.count = 100, .bytes = probe.bytes() - 1});
  EXPECT_EQ(small.make(merge(1)).error().failure, Failure::kOverloaded);
}

TEST_F(Merges, TheFolderGoesWithItsProcessAndThoseOfTheDeadWithTheNext) {
  fs::create_directories(home_ / "cache/77-dead/x");
  ASSERT_TRUE(write_file_atomic(home_ / "cache/77-dead.lock", "").ok());
  {
    MergeCache one(home_ / "cache", tiny_base(), {});
    ASSERT_TRUE(one.make(merge(1)).ok());
    EXPECT_FALSE(fs::exists(home_ / "cache/77-dead"));
    MergeCache other(home_ / "cache", tiny_base(), {});
    ASSERT_TRUE(other.make(merge(1)).ok());
    EXPECT_TRUE(fs::exists(one.make(merge(1)).value().ref.id));
  }
  std::vector<std::string> left;
  for (const auto& entry : fs::directory_iterator(home_ / "cache")) left.push_back(entry.path().filename());
  EXPECT_THAT(left, ::testing::ElementsAre("folders"));
}

}  // namespace
}  // namespace graft::serving::api
