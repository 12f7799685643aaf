#pragma once

#include <curl/curl.h>

#include <array>
#include <memory>
#include <optional>

#include "net/http_client.h"

namespace graft::net {

// One exchange of libcurl: its handle, and what has come so far. Shared by http_send and HttpMultiClient; of this room
// only. The request outlives it.
class CurlTransfer {
 public:
  static Result<std::unique_ptr<CurlTransfer>> create(const ClientRequest& request);
  CurlTransfer(const CurlTransfer&) = delete;
  CurlTransfer& operator=(const CurlTransfer&) = delete;
  ~CurlTransfer() = default;

  [[nodiscard]] CURL* handle() const { return curl_.get(); }
  // What became of it, once libcurl has said `code`.
  Result<ClientResponse> finish(CURLcode code);
  [[nodiscard]] TransferFailure failure(CURLcode code) const;

 private:
  struct CurlDeleter {
    void operator()(CURL* curl) const { curl_easy_cleanup(curl); }
  };
  struct ListDeleter {
    void operator()(curl_slist* list) const { curl_slist_free_all(list); }
  };

  explicit CurlTransfer(const ClientRequest& request) : request_(request) {}
  void set_options();
  size_t take_body(std::string_view piece);
  void take_header(std::string_view line);
  static size_t on_body(char* data, size_t size, size_t count, void* user);
  static size_t on_header(char* data, size_t size, size_t count, void* user);

  const ClientRequest& request_;
  std::unique_ptr<CURL, CurlDeleter> curl_;
  std::unique_ptr<curl_slist, ListDeleter> headers_;
  std::array<char, CURL_ERROR_SIZE> detail_{};
  ClientResponse response_;
  std::optional<bool> to_receiver_;  // whether on_data takes the body; not asked yet
  bool stopped_ = false;
  bool too_long_ = false;
};

// Once for the process.
bool init_curl();

}  // namespace graft::net
