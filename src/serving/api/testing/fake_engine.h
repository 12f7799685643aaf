#pragma once

#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "serving/engine.h"
#include "text/tokenizer.h"

namespace graft::serving::api::testing {

// An engine without a model: it says `reply` token by token, then <|endoftext|>. An adapter's id stands before the
// reply; a sampled reply starts at a token that depends on the seed. Adapters named missing* and broken* fail.
// Events come from a thread of its own, one token of every request in turn, as the real engine's do.
class FakeEngine : public Engine {
 public:
  FakeEngine(std::shared_ptr<const text::Tokenizer> tokenizer, std::string reply, int32_t max_total_tokens = 512);
  ~FakeEngine() override;

  Result<RequestId> submit(GenerationRequest request, std::shared_ptr<GenerationSink> sink) override;
  void cancel(RequestId id) override;
  [[nodiscard]] EngineStats stats() const override;
  [[nodiscard]] const EngineLimits& limits() const override { return limits_; }
  [[nodiscard]] bool healthy() const override;
  void add_adapter(const std::string& id, std::shared_ptr<const runtime::AdapterWeights> weights) override;

  // What tests set and see.
  void set_healthy(bool healthy);
  void set_overloaded(bool overloaded);
  // After `tokens` more tokens of all requests together nothing moves any more; -1 lifts that.
  void allow_tokens(int64_t tokens);
  void fail_after(int32_t tokens);  // every request fails once it has that many; -1: none does
  [[nodiscard]] std::vector<GenerationRequest> submitted() const;
  [[nodiscard]] GenerationRequest last() const;
  size_t wait_for_cancels(size_t count);  // blocks until so many requests have been cancelled
  [[nodiscard]] size_t running() const;

 private:
  struct Running;
  void run();
  bool advance(Running& running);
  [[nodiscard]] std::vector<int32_t> reply_of(const GenerationRequest& request) const;

  std::shared_ptr<const text::Tokenizer> tokenizer_;
  std::string reply_;
  EngineLimits limits_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable cancelled_wake_;
  std::map<RequestId, std::shared_ptr<Running>> running_;
  std::vector<GenerationRequest> submitted_;
  RequestId next_id_ = 1;
  int64_t allowed_ = -1;
  int32_t fail_after_ = -1;
  size_t cancels_ = 0;
  bool healthy_ = true;
  bool overloaded_ = false;
  bool stopping_ = false;
  EngineStats stats_;
  std::thread thread_;
};

}  // namespace graft::serving::api::testing
