#include "net/exchange.h"

#include <utility>

namespace graft::net {

bool Exchange::send(Response response) {
  const std::lock_guard lock(mutex_);
  if (answered_ && !replaceable_) return false;
  answered_ = finished_ = true;
  replaceable_ = false;
  pending_.response = std::move(response);
  notify_locked();
  return true;
}

bool Exchange::begin(StreamHead head) {
  const std::lock_guard lock(mutex_);
  if (answered_) return false;
  answered_ = true;
  replaceable_ = head.hold.count() > 0;
  pending_.head = std::move(head);
  notify_locked();
  return true;
}

WriteState Exchange::write(std::string chunk) {
  const std::lock_guard lock(mutex_);
  if (closed_ || finished_ || !answered_) return WriteState::kClosed;
  if (chunk.empty()) return WriteState::kOk;
  // A single piece larger than the bound still passes when nothing else waits.
  if (backlog_ > 0 && backlog_ + chunk.size() > max_backlog_) return WriteState::kFull;
  replaceable_ = false;
  backlog_ += chunk.size();
  pending_.chunks.push_back(std::move(chunk));
  notify_locked();
  return WriteState::kOk;
}

void Exchange::end() {
  const std::lock_guard lock(mutex_);
  if (finished_ || !answered_) return;
  finished_ = true;
  replaceable_ = false;
  pending_.ended = true;
  notify_locked();
}

bool Exchange::wait_writable(std::chrono::milliseconds timeout) {
  std::unique_lock lock(mutex_);
  drained_.wait_for(lock, timeout, [&] { return closed_ || finished_ || backlog_ <= max_backlog_ / 2; });
  return !closed_ && !finished_ && backlog_ <= max_backlog_ / 2;
}

void Exchange::on_disconnect(std::function<void()> callback) {
  {
    const std::lock_guard lock(mutex_);
    if (!gone_) {
      if (!closed_) on_disconnect_ = std::move(callback);
      return;
    }
  }
  if (callback) callback();
}

bool Exchange::disconnected() {
  const std::lock_guard lock(mutex_);
  return gone_;
}

void Exchange::abandon() {
  const std::lock_guard lock(mutex_);
  if (finished_) return;
  finished_ = true;
  pending_.aborted = true;
  notify_locked();
}

Exchange::Progress Exchange::take() {
  const std::lock_guard lock(mutex_);
  return std::exchange(pending_, Progress{});
}

Exchange::Progress Exchange::commit() {
  const std::lock_guard lock(mutex_);
  replaceable_ = false;
  return std::exchange(pending_, Progress{});
}

void Exchange::written(size_t bytes) {
  const std::lock_guard lock(mutex_);
  backlog_ -= bytes;
  drained_.notify_all();
}

void Exchange::disconnect() {
  std::function<void()> callback;
  {
    const std::lock_guard lock(mutex_);
    if (closed_) return;
    closed_ = gone_ = true;
    callback = std::exchange(on_disconnect_, nullptr);
    drained_.notify_all();
  }
  if (callback) callback();
}

void Exchange::detach() {
  std::function<void()> callback;  // destroyed outside the lock: it may own anything
  {
    const std::lock_guard lock(mutex_);
    notify_ = nullptr;
    closed_ = true;
    callback = std::exchange(on_disconnect_, nullptr);
    drained_.notify_all();
  }
}

struct ResponseWriter::Guard {
  explicit Guard(std::shared_ptr<Exchange> e) : exchange(std::move(e)) {}
  ~Guard() { exchange->abandon(); }
  Guard(const Guard&) = delete;
  Guard& operator=(const Guard&) = delete;
  std::shared_ptr<Exchange> exchange;
};

ResponseWriter::ResponseWriter(std::shared_ptr<Exchange> exchange)
    : guard_(std::make_shared<Guard>(std::move(exchange))) {}

bool ResponseWriter::send(Response response) const { return guard_->exchange->send(std::move(response)); }
bool ResponseWriter::begin(StreamHead head) const { return guard_->exchange->begin(std::move(head)); }
WriteState ResponseWriter::write(std::string chunk) const { return guard_->exchange->write(std::move(chunk)); }
void ResponseWriter::end() const { guard_->exchange->end(); }
bool ResponseWriter::wait_writable(std::chrono::milliseconds timeout) const {
  return guard_->exchange->wait_writable(timeout);
}
void ResponseWriter::on_disconnect(std::function<void()> callback) const {
  guard_->exchange->on_disconnect(std::move(callback));
}
bool ResponseWriter::disconnected() const { return guard_->exchange->disconnected(); }

StreamHead StreamHead::sse(std::chrono::milliseconds heartbeat_every) {
  StreamHead head;
  head.headers = {{"Content-Type", "text/event-stream"}, {"Cache-Control", "no-cache"}, {"X-Accel-Buffering", "no"}};
  head.heartbeat = ":\n\n";
  head.heartbeat_every = heartbeat_every;
  return head;
}

}  // namespace graft::net
