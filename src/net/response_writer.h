#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "net/http.h"

namespace graft::net {

class Exchange;

enum class WriteState {
  kOk,
  kFull,    // the client reads too slowly: the chunk was not taken
  kClosed,  // the client is gone, or the body was ended
};

// A body sent in pieces.
struct StreamHead {
  int status = 200;
  Headers headers;
  std::string heartbeat;  // sent when nothing else was for `heartbeat_every`, so that proxies keep the line open
  std::chrono::milliseconds heartbeat_every{0};  // 0: never
  // How long the header waits for the first piece. Until then send() may still replace the stream, so that what fails
  // early fails with a status of its own.
  std::chrono::milliseconds hold{0};

  static StreamHead sse(std::chrono::milliseconds heartbeat_every = std::chrono::seconds(15));
};

// A handler's end of one request: answer once with send(), or begin() and then write() ... end(). Copies share it; all
// members may be called from any thread and return at once (but wait_writable). Where the last copy goes away before
// an answer, the client gets status 500; before end(), the connection is cut so that the client sees the body is not
// whole.
class ResponseWriter {
 public:
  explicit ResponseWriter(std::shared_ptr<Exchange> exchange);

  bool send(Response response) const;  // false: there is an answer already, and this one is dropped
  bool begin(StreamHead head) const;   // likewise
  // Queues a piece of the body. The queue is bounded (ServerOptions::max_stream_backlog).
  [[nodiscard]] WriteState write(std::string chunk) const;
  void end() const;
  // For producers with a thread of their own: waits until the queue is at most half full. false: closed, or timed out.
  [[nodiscard]] bool wait_writable(std::chrono::milliseconds timeout) const;

  // Runs `callback` once if the client goes away before the answer is complete: on an I/O thread, or here if it has
  // gone already. It must return at once and must not hold a copy of this writer.
  void on_disconnect(std::function<void()> callback) const;
  [[nodiscard]] bool disconnected() const;

 private:
  struct Guard;
  std::shared_ptr<Guard> guard_;
};

}  // namespace graft::net
