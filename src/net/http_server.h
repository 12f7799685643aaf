#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "net/router.h"
#include "net/worker_pool.h"

namespace graft::net {

// Which pages of other origins may call, and what they may send and see (Fetch Standard). No origins: none.
struct CorsOptions {
  std::vector<std::string> allow_origins;  // "*" or origins
  std::vector<std::string> allow_methods{"GET", "POST", "OPTIONS"};
  std::vector<std::string> allow_headers{"Content-Type", "Authorization", "traceparent", "x-request-id",
                                         "x-request-timeout-ms"};
  std::vector<std::string> expose_headers;  // beyond the simple ones
  bool allow_credentials = false;           // cookies and the like; origins are then named even under "*"
};

// One request that was answered, or whose client went away.
struct Exchanged {
  std::string method, path;
  int status = 0;     // 0: nothing was sent
  bool whole = true;  // false: the client did not get all of it
  std::chrono::nanoseconds time{};
  Headers standing;  // what standing_headers said
};

struct ServerOptions {
  std::string host = "127.0.0.1";  // an address, not a name
  uint16_t port = 0;               // 0: a free one; HttpServer::port() says which
  int io_threads = 1;
  int worker_threads = 2;
  std::shared_ptr<WorkerPool> workers;  // a pool made beforehand; null: the server makes one of worker_threads
  size_t max_connections = 4096;        // further ones get 503 and are closed
  size_t max_header_bytes = 16 * 1024;
  size_t max_body_bytes = 16 * 1024 * 1024;
  size_t max_stream_backlog = 4 * 1024 * 1024;       // bytes of one streamed body that wait for a slow reader
  std::chrono::milliseconds idle_timeout{75'000};    // between requests
  std::chrono::milliseconds header_timeout{15'000};  // first byte of a request to the end of its header
  std::chrono::milliseconds body_timeout{120'000};   // the whole of a request's body
  std::chrono::milliseconds write_timeout{30'000};   // a reader must take 64 KiB in this time
  std::string tls_certificate, tls_key;              // PEM files; both empty: plain HTTP
  CorsOptions cors;
  // Whether a request may be handled at all: an answer is sent instead of it. Asked on an I/O thread before the path is
  // looked up, but not for preflights: it must return at once.
  std::function<std::optional<Response>(const Request&)> guard;
  // Headers that every answer to this request gets, be it a handler's, the guard's or an error. It may add to the
  // request as well. On an I/O thread.
  std::function<Headers(Request&)> standing_headers;
  std::function<void(const Exchanged&)> log;  // after each answer, on an I/O thread
  // What the server itself has to say (404, 405, 400, 408, 413, 431, 500, 503), in the form that clients of this path
  // expect. Default: {"error": message}.
  std::function<Response(std::string_view path, int status, std::string_view message)> error_response;
};

// HTTP/1.0 and HTTP/1.1 with keep-alive and pipelining, over TLS where a certificate is given.
//
// Threads and queues. `io_threads` threads run the sockets; each connection is a coroutine on its own strand, and
// nothing on these threads computes or blocks. `worker_threads` threads run the handlers in the order in which their
// requests became complete. A handler that waits for the model must not block its worker: it returns and answers later
// through the ResponseWriter it keeps. A connection has at most one request with a handler at a time, so at most
// max_connections requests wait for a worker. What a handler streams waits in a queue of max_stream_backlog bytes.
//
// A handler's exception becomes status 500. A client that goes away (end of stream on its side included) is noticed
// while its handler works, and the handler is told (ResponseWriter::on_disconnect).
class HttpServer {
 public:
  // Errors: io (port in use, no permission, a TLS file), invalid (host is not an address, a TLS file).
  static Result<std::unique_ptr<HttpServer>> start(ServerOptions options, Router router);
  ~HttpServer();  // stop() without grace

  [[nodiscard]] uint16_t port() const;
  // Requests that are not answered whole yet.
  [[nodiscard]] int active_requests() const;
  // Handlers' follow-up work. Outlives the server while someone holds it, but takes no tasks after stop().
  [[nodiscard]] std::shared_ptr<WorkerPool> workers() const;

  // Stops accepting, closes idle connections, lets requests in progress finish for up to `grace`, then cuts them.
  // Returns when no thread of the server runs any more. Not from a handler. Safe to call twice.
  void stop(std::chrono::milliseconds grace = std::chrono::milliseconds(0));

 private:
  struct Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace graft::net
