#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <string>

#include "net/response_writer.h"

namespace graft::net {

// What passes between a handler (any thread) and its connection (I/O thread) for one request. Internal to the room.
class Exchange {
 public:
  Exchange(size_t max_backlog, std::function<void()> notify) : max_backlog_(max_backlog), notify_(std::move(notify)) {}

  // The handler's side.
  bool send(Response response);
  bool begin(StreamHead head);
  WriteState write(std::string chunk);
  void end();
  bool wait_writable(std::chrono::milliseconds timeout);
  void on_disconnect(std::function<void()> callback);
  bool disconnected();
  void abandon();  // the last writer is gone

  // The connection's side. Each returns what is new since the last call.
  struct Progress {
    std::optional<Response> response;
    std::optional<StreamHead> head;
    std::deque<std::string> chunks;
    bool ended = false;    // the body is whole
    bool aborted = false;  // the handler gave up: no answer, or half a body
  };
  Progress take();
  Progress commit();           // as take(), and the header goes out now: send() can no longer replace the stream
  void written(size_t bytes);  // so much of the chunks taken has been sent: there is room for more
  void disconnect();           // the client has gone: tells the handler
  void detach();               // the connection is done with this request: no notify afterwards

 private:
  void notify_locked() const {
    if (notify_) notify_();
  }

  const size_t max_backlog_;
  std::mutex mutex_;
  std::condition_variable drained_;
  std::function<void()> notify_;         // posts to the connection's strand: never runs inline
  std::function<void()> on_disconnect_;  // called outside the lock
  Progress pending_;
  size_t backlog_ = 0;
  bool answered_ = false;     // send() or begin() was called
  bool finished_ = false;     // send(), end() or abandon() was called
  bool replaceable_ = false;  // begun, but its header is held
  bool closed_ = false;       // nobody will read what is written
  bool gone_ = false;         // closed before it was complete
};

}  // namespace graft::net
