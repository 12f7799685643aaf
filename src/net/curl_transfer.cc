#include "net/curl_transfer.h"

#include "fmt/format.h"

namespace graft::net {
namespace {

std::string_view trim(std::string_view text) {
  const auto space = [](char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; };
  while (!text.empty() && space(text.front())) text.remove_prefix(1);
  while (!text.empty() && space(text.back())) text.remove_suffix(1);
  return text;
}

bool is_loopback(std::string_view url) {
  const size_t scheme = url.find("://");
  std::string_view host = scheme == std::string_view::npos ? url : url.substr(scheme + 3);
  host = host.substr(0, host.find_first_of("/?#"));
  return host.substr(0, 4) == "127." || host.substr(0, 9) == "localhost" || host.substr(0, 5) == "[::1]";
}

}  // namespace

bool init_curl() {
  static const bool ok = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;  // once, and thread-safe as a local static
  return ok;
}

Result<std::unique_ptr<CurlTransfer>> CurlTransfer::create(const ClientRequest& request) {
  const std::string place = request.method + " " + request.url;
  if (!init_curl()) return internal_error(place + ": libcurl could not be initialised");
  std::unique_ptr<CurlTransfer> transfer(new CurlTransfer(request));
  transfer->curl_.reset(curl_easy_init());
  if (!transfer->curl_) return internal_error(place + ": out of memory");
  for (const auto& [name, value] : request.headers) {
    const std::string line = value.empty() ? name + ";" : name + ": " + value;
    transfer->headers_.reset(curl_slist_append(transfer->headers_.release(), line.c_str()));
  }
  // No extra round trip before a body.
  transfer->headers_.reset(curl_slist_append(transfer->headers_.release(), "Expect:"));
  transfer->set_options();
  return transfer;
}

void CurlTransfer::set_options() {
  CURL* curl = curl_.get();
  curl_easy_setopt(curl, CURLOPT_URL, request_.url.c_str());
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(request_.connect_timeout.count()));
  curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, static_cast<long>(request_.timeout.count()));
  if (request_.stall_timeout.count() > 0) {
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, static_cast<long>(request_.stall_timeout.count()));
  }
  curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, request_.max_redirects > 0 ? 1L : 0L);
  curl_easy_setopt(curl, CURLOPT_MAXREDIRS, static_cast<long>(request_.max_redirects));
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers_.get());
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, this);
  curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, this);
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, detail_.data());
  if (is_loopback(request_.url)) curl_easy_setopt(curl, CURLOPT_PROXY, "");
  if (request_.method == "HEAD") curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
  if (request_.method != "GET" && request_.method != "HEAD") {
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request_.body.size()));
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request_.body.data());
  }
  curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request_.method == "HEAD" ? nullptr : request_.method.c_str());
}

size_t CurlTransfer::take_body(std::string_view piece) {
  if (!to_receiver_) {
    long status = 0;
    curl_easy_getinfo(curl_.get(), CURLINFO_RESPONSE_CODE, &status);
    to_receiver_ = request_.on_data != nullptr &&
                   (request_.on_head == nullptr || request_.on_head(static_cast<int>(status), response_.headers));
  }
  if (*to_receiver_) {
    stopped_ = !request_.on_data(piece);
    return stopped_ ? 0 : piece.size();
  }
  too_long_ = response_.body.size() + piece.size() > request_.max_body_bytes;
  if (too_long_) return 0;
  response_.body.append(piece);
  return piece.size();
}

void CurlTransfer::take_header(std::string_view line) {
  const size_t colon = line.find(':');
  if (line.substr(0, 5) == "HTTP/") {
    response_.headers = {};
  } else if (colon != std::string_view::npos) {
    response_.headers.add(std::string(line.substr(0, colon)), std::string(trim(line.substr(colon + 1))));
  }
}

// No exception may pass through libcurl: one ends the transfer instead.
size_t CurlTransfer::on_body(char* data, size_t size, size_t count, void* user) try {
  return static_cast<CurlTransfer*>(user)->take_body({data, size * count});
} catch (...) {
  return 0;
}

size_t CurlTransfer::on_header(char* data, size_t size, size_t count, void* user) try {
  static_cast<CurlTransfer*>(user)->take_header({data, size * count});
  return size * count;
} catch (...) {
  return 0;
}

Result<ClientResponse> CurlTransfer::finish(CURLcode code) {
  const std::string place = request_.method + " " + request_.url;
  if (stopped_) return cancelled(place + ": stopped by the receiver");
  if (too_long_) return io_error(fmt::format("{}: the answer is over {} bytes", place, request_.max_body_bytes));
  if (code != CURLE_OK) {
    const std::string why = detail_[0] != '\0' ? detail_.data() : curl_easy_strerror(code);
    if (code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL) return invalid(place + ": " + why);
    return io_error(place + ": " + why);
  }
  long status = 0;
  curl_easy_getinfo(curl_.get(), CURLINFO_RESPONSE_CODE, &status);
  response_.status = static_cast<int>(status);
  return std::move(response_);
}

TransferFailure CurlTransfer::failure(CURLcode code) const {
  if (stopped_) return TransferFailure::kStopped;
  switch (code) {
    case CURLE_OK:
      return TransferFailure::kNone;
    case CURLE_COULDNT_CONNECT:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
      return TransferFailure::kConnect;
    case CURLE_OPERATION_TIMEDOUT:
      return TransferFailure::kTimeout;
    case CURLE_PARTIAL_FILE:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
    case CURLE_GOT_NOTHING:
      return TransferFailure::kCutOff;
    default:
      return TransferFailure::kOther;
  }
}

}  // namespace graft::net
