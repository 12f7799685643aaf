#include "training/generate_all.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <utility>

namespace graft::training {
namespace {

// What the engine's thread hands over. Shared with every sink, so that an event which comes late finds it alive.
struct Mailbox {
  struct Event {
    size_t index = 0;
    std::optional<serving::GenerationResult> result;
    Error error;
  };

  void put(Event event) {
    const std::lock_guard lock(mutex);
    events.push_back(std::move(event));
    arrived.notify_one();
  }

  std::mutex mutex;
  std::condition_variable arrived;
  std::vector<Event> events;
};

class MailboxSink final : public serving::GenerationSink {
 public:
  MailboxSink(std::shared_ptr<Mailbox> mailbox, size_t index) : mailbox_(std::move(mailbox)), index_(index) {}
  void on_token(const serving::GeneratedToken& /*token*/) override {}
  void on_finish(serving::GenerationResult result) override { mailbox_->put({index_, std::move(result), {}}); }
  void on_error(Error error) override { mailbox_->put({index_, std::nullopt, std::move(error)}); }

 private:
  std::shared_ptr<Mailbox> mailbox_;
  size_t index_;
};

class Batch {
 public:
  Batch(serving::Engine& engine, std::vector<serving::GenerationRequest> requests, const GenerateAllOptions& options)
      : engine_(engine),
        requests_(std::move(requests)),
        options_(options),
        ids_(requests_.size()),
        results_(requests_.size()) {}

  Result<std::vector<serving::GenerationResult>> run() {
    Status status = submit_some();
    while (status.ok() && done_ < results_.size()) {
      status = handle(wait());
      if (status.ok() && options_.stop != nullptr && *options_.stop) status = cancelled("stopped");
      if (status.ok()) status = submit_some();
    }
    if (status.ok()) return std::move(results_);
    cancel_rest();
    return status.error();
  }

 private:
  Status submit_some() {
    const size_t limit = done_ + static_cast<size_t>(std::max(options_.in_flight, 1));
    for (; next_ < requests_.size() && next_ < limit; ++next_) {
      auto id = engine_.submit(std::move(requests_[next_]), std::make_shared<MailboxSink>(mailbox_, next_));
      if (!id.ok()) return at(fmt::format("request {}", next_ + 1), id.error());
      ids_[next_] = *id;
      running_.insert(next_);
    }
    return {};
  }

  // A stop is noticed within the wait's limit even where no request ends.
  std::vector<Mailbox::Event> wait() {
    std::unique_lock lock(mailbox_->mutex);
    mailbox_->arrived.wait_for(lock, std::chrono::milliseconds(100), [this] { return !mailbox_->events.empty(); });
    return std::exchange(mailbox_->events, {});
  }

  Status handle(std::vector<Mailbox::Event> events) {
    for (auto& event : events) {
      running_.erase(event.index);
      if (!event.result) return at(fmt::format("request {}", event.index + 1), event.error);
      tokens_ += static_cast<int64_t>(event.result->tokens.size());
      results_[event.index] = std::move(*event.result);
      ++done_;
      if (options_.on_progress) options_.on_progress(static_cast<int64_t>(done_), tokens_);
    }
    return {};
  }

  void cancel_rest() {
    for (const size_t index : running_) engine_.cancel(ids_[index]);
  }

  serving::Engine& engine_;
  std::vector<serving::GenerationRequest> requests_;
  const GenerateAllOptions& options_;
  std::shared_ptr<Mailbox> mailbox_ = std::make_shared<Mailbox>();
  std::vector<serving::RequestId> ids_;
  std::vector<serving::GenerationResult> results_;
  std::set<size_t> running_;
  size_t next_ = 0;
  size_t done_ = 0;
  int64_t tokens_ = 0;
};

}  // namespace

Result<std::vector<serving::GenerationResult>> generate_all(serving::Engine& engine,
                                                            std::vector<serving::GenerationRequest> requests,
                                                            const GenerateAllOptions& options) {
  return Batch(engine, std::move(requests), options).run();
}

}  // namespace graft::training
