#include "net/http_multi_client.h"

#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "net/curl_transfer.h"

namespace graft::net {
namespace {

// The transfer refers to the request, so both keep their places until the end.
struct Exchange {
  ClientRequest request;
  HttpMultiClient::Done done;
  std::unique_ptr<CurlTransfer> transfer;
};

struct Failed {
  Error error;
  HttpMultiClient::Done done;
};

}  // namespace

struct HttpMultiClient::Impl {
  struct MultiDeleter {
    void operator()(CURLM* multi) const { curl_multi_cleanup(multi); }
  };

  std::unique_ptr<CURLM, MultiDeleter> multi;
  std::unordered_map<CURL*, std::unique_ptr<Exchange>> exchanges;
  std::vector<Failed> failed;  // before they began

  ~Impl() {
    for (const auto& [curl, exchange] : exchanges) curl_multi_remove_handle(multi.get(), curl);
  }

  void finish(CURL* curl, CURLcode code) {
    const auto it = exchanges.find(curl);
    if (it == exchanges.end()) return;
    const std::unique_ptr<Exchange> exchange = std::move(it->second);
    exchanges.erase(it);
    curl_multi_remove_handle(multi.get(), curl);
    const TransferFailure failure = exchange->transfer->failure(code);
    exchange->done(exchange->transfer->finish(code), failure);
  }

  void report() {
    for (Failed& one : std::exchange(failed, {})) one.done(std::move(one.error), TransferFailure::kOther);
    // A Done may start exchanges, so what ended is collected before any is called.
    std::vector<std::pair<CURL*, CURLcode>> ended;
    int left = 0;
    while (const CURLMsg* message = curl_multi_info_read(multi.get(), &left)) {
      if (message->msg == CURLMSG_DONE) ended.emplace_back(message->easy_handle, message->data.result);
    }
    for (const auto& [curl, code] : ended) finish(curl, code);
  }
};

HttpMultiClient::HttpMultiClient(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpMultiClient::~HttpMultiClient() = default;

Result<std::unique_ptr<HttpMultiClient>> HttpMultiClient::create() {
  if (!init_curl()) return internal_error("libcurl could not be initialised");
  auto impl = std::make_unique<Impl>();
  impl->multi.reset(curl_multi_init());
  if (!impl->multi) return internal_error("libcurl: out of memory");
  return std::unique_ptr<HttpMultiClient>(new HttpMultiClient(std::move(impl)));
}

size_t HttpMultiClient::in_flight() const { return impl_->exchanges.size() + impl_->failed.size(); }

void HttpMultiClient::start(ClientRequest request, Done done) {
  auto exchange = std::make_unique<Exchange>();
  exchange->request = std::move(request);
  exchange->done = std::move(done);
  auto transfer = CurlTransfer::create(exchange->request);
  if (!transfer.ok()) {
    impl_->failed.push_back({transfer.error(), std::move(exchange->done)});
    return;
  }
  exchange->transfer = std::move(transfer).value();
  CURL* curl = exchange->transfer->handle();
  if (const CURLMcode code = curl_multi_add_handle(impl_->multi.get(), curl); code != CURLM_OK) {
    impl_->failed.push_back(
        {internal_error(std::string("libcurl: ") + curl_multi_strerror(code)), std::move(exchange->done)});
    return;
  }
  impl_->exchanges.emplace(curl, std::move(exchange));
}

Status HttpMultiClient::run(std::chrono::milliseconds timeout) {
  int running = 0;
  CURLMcode code = curl_multi_perform(impl_->multi.get(), &running);
  const bool ended = static_cast<size_t>(running) < impl_->exchanges.size() || !impl_->failed.empty();
  if (code == CURLM_OK && !ended) {
    code = curl_multi_poll(impl_->multi.get(), nullptr, 0, static_cast<int>(timeout.count()), nullptr);
    if (code == CURLM_OK) code = curl_multi_perform(impl_->multi.get(), &running);
  }
  if (code != CURLM_OK) return internal_error(std::string("libcurl: ") + curl_multi_strerror(code));
  impl_->report();
  return {};
}

}  // namespace graft::net
