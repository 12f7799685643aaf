// Resolving with sources that are functions of the tests.
#include "serving/api/adapter_resolver.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <future>
#include <set>
#include <thread>

namespace graft::serving::api {
namespace {

using ::testing::HasSubstr;
using namespace std::chrono_literals;

using Outcome = ApiResult<ResolvedAdapter>;

// A source that counts what it is asked, and may hold its answers back.
class Source {
 public:
  Result<std::string> fetch(const AdapterRef& ref) {
    std::unique_lock lock(mutex_);
    ++asked_;
    wake_.notify_all();
    wake_.wait(lock, [&] { return open_; });
    if (down_) return io_error("no route to the hub");
    if (!readers_.contains(ref.api_token)) return not_found("no such adapter");
    return "/cache/" + ref.id + "/" + version_;
  }
  template <class Change>
  void change(Change change) {
    const std::lock_guard lock(mutex_);
    change(*this);
    wake_.notify_all();
  }
  int asked() {
    const std::lock_guard lock(mutex_);
    return asked_;
  }
  void wait_asked(int count) {
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [&] { return asked_ >= count; });
  }

  bool open_ = true, down_ = false;
  std::set<std::string> readers_ = {"good"};
  std::string version_ = "1";

 private:
  std::mutex mutex_;
  std::condition_variable wake_;
  int asked_ = 0;
};

class Resolver : public ::testing::Test {
 protected:
  void make(std::chrono::milliseconds recheck = 1h, size_t max_waiting = 1024, int threads = 2) {
    AdapterResolver::Settings settings;
    settings.fetch = [this](const AdapterRef& ref) { return source_.fetch(ref); };
    settings.recheck = recheck;
    settings.max_waiting = max_waiting;
    settings.fetch_threads = threads;
    resolver_ = std::make_unique<AdapterResolver>(std::move(settings));
  }
  std::future<Outcome> start(const AdapterRef& ref) {
    auto promise = std::make_shared<std::promise<Outcome>>();
    resolver_->resolve(ref, [promise](const Outcome& outcome) { promise->set_value(outcome); });
    return promise->get_future();
  }
  Outcome get(const AdapterRef& ref) { return start(ref).get(); }

  Source source_;
  std::unique_ptr<AdapterResolver> resolver_;
  const AdapterRef good_{"org/x", "hub", "good"};
};

TEST_F(Resolver, WhatIsLocalIsAnsweredAtOnce) {
  make();
  EXPECT_EQ(get({"/some/folder", "local", ""}).value().ref, (AdapterRef{"/some/folder", "local", ""}));
  EXPECT_EQ(get({"", "hub", "t"}).value().ref.id, "");
  EXPECT_EQ(source_.asked(), 0);
}

TEST_F(Resolver, RequestsThatComeMeanwhileShareOneFetch) {
  make();
  source_.change([](Source& s) { s.open_ = false; });
  std::deque<std::future<Outcome>> waiting;
  for (int i = 0; i < 50; ++i) waiting.push_back(start(good_));
  source_.wait_asked(1);
  source_.change([](Source& s) { s.open_ = true; });
  for (auto& future : waiting) EXPECT_EQ(future.get().value().ref, (AdapterRef{"/cache/org/x/1", "local", ""}));
  EXPECT_EQ(source_.asked(), 1);
  EXPECT_EQ(get(good_).value().ref.id, "/cache/org/x/1");  // and it holds for a while
  EXPECT_EQ(source_.asked(), 1);
}

// LoRAX's defect 2.
TEST_F(Resolver, WhatOneTokenMayReadIsNotForAnother) {
  make();
  ASSERT_TRUE(get(good_).ok());
  for (const char* token : {"", "bad"}) {
    const Outcome refused = get({"org/x", "hub", token});
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().failure, Failure::kNotFound);
  }
  EXPECT_EQ(source_.asked(), 3);
  EXPECT_TRUE(get(good_).ok());
}

// LoRAX's defect 5.
TEST_F(Resolver, ANewVersionIsFoundAndARevokedTokenRefusedWhenTheTimeIsUp) {
  make(0ms);
  EXPECT_EQ(get(good_).value().ref.id, "/cache/org/x/1");
  source_.change([](Source& s) { s.version_ = "2"; });
  EXPECT_EQ(get(good_).value().ref.id, "/cache/org/x/2");
  source_.change([](Source& s) { s.readers_.clear(); });
  EXPECT_EQ(get(good_).error().failure, Failure::kNotFound);
}

TEST_F(Resolver, ASourceThatDoesNotAnswerDoesNotTakeAwayWhatATokenHad) {
  make(0ms);
  ASSERT_TRUE(get(good_).ok());
  source_.change([](Source& s) { s.down_ = true; });
  EXPECT_EQ(get(good_).value().ref.id, "/cache/org/x/1");
  const Outcome other = get({"org/x", "hub", ""});
  EXPECT_EQ(other.error().failure, Failure::kUnavailable);
  EXPECT_THAT(other.error().message, HasSubstr("no route to the hub"));
  // A refusal ends it.
  source_.change([](Source& s) {
    s.down_ = false;
    s.readers_.clear();
  });
  EXPECT_FALSE(get(good_).ok());
  source_.change([](Source& s) { s.down_ = true; });
  EXPECT_EQ(get(good_).error().failure, Failure::kUnavailable);
}

TEST_F(Resolver, MoreThanMayWaitAreRefused) {
  make(1h, 2);
  source_.change([](Source& s) { s.open_ = false; });
  auto first = start(good_);
  auto second = start({"org/y", "hub", "good"});
  EXPECT_EQ(get({"org/z", "hub", "good"}).error().failure, Failure::kOverloaded);
  source_.change([](Source& s) { s.open_ = true; });
  EXPECT_TRUE(first.get().ok());
  EXPECT_TRUE(second.get().ok());
  EXPECT_TRUE(get({"org/z", "hub", "good"}).ok());
}

TEST_F(Resolver, StoppingAnswersWhatWaits) {
  make(1h, 100, 1);
  source_.change([](Source& s) { s.open_ = false; });
  auto running = start(good_);
  source_.wait_asked(1);
  auto waiting = start({"org/y", "hub", "good"});
  std::thread stopper([&] { resolver_->stop(); });
  const auto stopping = [&] {  // a request that waits is not ready; one too many is refused as overloaded
    auto more = start({"org/new", "hub", "good"});
    return more.wait_for(0s) == std::future_status::ready && more.get().error().failure == Failure::kIncomplete;
  };
  while (!stopping()) std::this_thread::yield();
  source_.change([](Source& s) { s.open_ = true; });
  stopper.join();
  EXPECT_TRUE(running.get().ok());
  EXPECT_EQ(waiting.get().error().failure, Failure::kIncomplete);
  EXPECT_EQ(get({"org/x2", "hub", "good"}).error().failure, Failure::kIncomplete);
}

TEST_F(Resolver, ASourceThatThrowsIsAnErrorOfOurs) {
  AdapterResolver::Settings settings;
  settings.fetch = [](const AdapterRef&) -> Result<std::string> { throw std::runtime_error("boom"); };
  resolver_ = std::make_unique<AdapterResolver>(std::move(settings));
  EXPECT_EQ(get(good_).error().failure, Failure::kInternal);
  EXPECT_THAT(get(good_).error().message, HasSubstr("boom"));
}

}  // namespace
}  // namespace graft::serving::api
