#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "net/response_writer.h"
#include "net/worker_pool.h"
#include "serving/api/adapter_resolver.h"
#include "serving/api/api_context.h"
#include "serving/api/api_error.h"

namespace graft::serving::api {

// One HTTP request's sequences in the engine: submits them, hands their events over to a worker one at a time and in
// order, and cancels what is left when one fails, the client goes away or the handler asks for it. A sequence that
// ended where its grammar does is checked once more, as a whole: one that does not fit its schema has failed.
class GenerationJob : public std::enable_shared_from_this<GenerationJob> {
 public:
  // Called on workers, never two at once, in the order of the sequence's events. Exactly one of on_done and on_error
  // is the last call.
  struct Events {
    std::function<void(size_t sequence, const GeneratedToken& token)> on_token;      // may be empty
    std::function<void(size_t sequence, const GenerationResult& result)> on_finish;  // may be empty
    std::function<void(std::vector<GenerationResult> results)> on_done;  // all of them, in the order of the requests
    std::function<void(const ApiError& error)> on_error;
  };

  static std::shared_ptr<GenerationJob> create(ContextPtr context, Events events);

  // Once. Returns at once; the engine keeps the job alive until its last event. `writer` is only asked to report the
  // client's disconnect. All requests have one adapter, which is fetched first where it is not local; or what `merge`
  // makes.
  void submit(std::vector<GenerationRequest> requests, const net::ResponseWriter& writer,
              const std::optional<AdapterMerge>& merge = {});
  void cancel();  // any thread

 private:
  class Sink;
  GenerationJob(ContextPtr context, Events events);

  using Clock = std::chrono::steady_clock;

  void submit_all(std::vector<GenerationRequest> requests);
  void resolved(const ApiResult<ResolvedAdapter>& outcome);
  bool submit_one(size_t sequence, GenerationRequest request);
  void finished(size_t sequence, GenerationResult result);
  void failed(const ApiError& error);

  ContextPtr context_;
  std::shared_ptr<net::SerialQueue> queue_;
  const bool streaming_;

  // Only touched in the queue, and before the first submission.
  Events events_;
  std::vector<GenerationResult> results_;
  std::vector<std::shared_ptr<const grammar::Grammar>> grammars_;  // of the sequences; null: none
  size_t open_ = 0;
  bool over_ = false;
  std::shared_ptr<const void> lease_;        // of the adapter
  std::vector<GenerationRequest> prepared_;  // while their adapter is made ready
  Clock::time_point began_ = Clock::now();

  std::mutex mutex_;
  std::vector<RequestId> ids_;
  bool cancelled_ = false;
};

}  // namespace graft::serving::api
