#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>

#include "net/http_client.h"

namespace graft::net {

// Many exchanges at once without threads of their own: whoever calls run() drives them all, and every callback runs
// inside that call. Connections are kept and used again. One thread at a time.
class HttpMultiClient {
 public:
  using Done = std::function<void(Result<ClientResponse> response, TransferFailure failure)>;

  static Result<std::unique_ptr<HttpMultiClient>> create();
  ~HttpMultiClient();  // cuts what is in flight, without calling its Done
  HttpMultiClient(const HttpMultiClient&) = delete;
  HttpMultiClient& operator=(const HttpMultiClient&) = delete;

  // Begins an exchange. Allowed in a Done, but not in an on_data or on_head. What cannot even begin fails through Done
  // in the next run().
  void start(ClientRequest request, Done done);
  [[nodiscard]] size_t in_flight() const;

  // Moves every exchange on, waiting up to `timeout` where nothing can move, and calls the Done of those that ended.
  Status run(std::chrono::milliseconds timeout);

 private:
  struct Impl;
  explicit HttpMultiClient(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace graft::net
