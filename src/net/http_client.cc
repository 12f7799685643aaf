#include "net/http_client.h"

#include <curl/curl.h>

#include <array>
#include <memory>

#include "fmt/format.h"

namespace graft::net {
namespace {

struct Transfer {
  const ClientRequest* request = nullptr;
  ClientResponse response;
  bool stopped = false;
  bool too_long = false;
};

// No exception may pass through libcurl: one ends the transfer instead.
size_t take_body(char* data, size_t size, size_t count, void* user) try {
  auto& transfer = *static_cast<Transfer*>(user);
  const std::string_view piece(data, size * count);
  if (transfer.request->on_data) {
    transfer.stopped = !transfer.request->on_data(piece);
    return transfer.stopped ? 0 : piece.size();
  }
  transfer.too_long = transfer.response.body.size() + piece.size() > transfer.request->max_body_bytes;
  if (transfer.too_long) return 0;
  transfer.response.body.append(piece);
  return piece.size();
} catch (...) {
  return 0;
}

std::string_view trim(std::string_view text) {
  const auto space = [](char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; };
  while (!text.empty() && space(text.front())) text.remove_prefix(1);
  while (!text.empty() && space(text.back())) text.remove_suffix(1);
  return text;
}

size_t take_header(char* data, size_t size, size_t count, void* user) try {
  auto& transfer = *static_cast<Transfer*>(user);
  const std::string_view line(data, size * count);
  const size_t colon = line.find(':');
  if (line.substr(0, 5) == "HTTP/") {
    transfer.response.headers = {};
  } else if (colon != std::string_view::npos) {
    transfer.response.headers.add(std::string(line.substr(0, colon)), std::string(trim(line.substr(colon + 1))));
  }
  return line.size();
} catch (...) {
  return 0;
}

bool is_loopback(std::string_view url) {
  const size_t scheme = url.find("://");
  std::string_view host = scheme == std::string_view::npos ? url : url.substr(scheme + 3);
  host = host.substr(0, host.find_first_of("/?#"));
  return host.substr(0, 4) == "127." || host.substr(0, 9) == "localhost" || host.substr(0, 5) == "[::1]";
}

struct CurlDeleter {
  void operator()(CURL* curl) const { curl_easy_cleanup(curl); }
};
struct ListDeleter {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using HeaderList = std::unique_ptr<curl_slist, ListDeleter>;

HeaderList make_headers(const Headers& headers) {
  HeaderList list;
  for (const auto& [name, value] : headers) {
    const std::string line = value.empty() ? name + ";" : name + ": " + value;
    list.reset(curl_slist_append(list.release(), line.c_str()));
  }
  list.reset(curl_slist_append(list.release(), "Expect:"));  // no extra round trip before a body
  return list;
}

void set_options(CURL* curl, const ClientRequest& request, Transfer& transfer, const HeaderList& headers) {
  curl_easy_setopt(curl, CURLOPT_URL, request.url.c_str());
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(request.connect_timeout.count()));
  curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, static_cast<long>(request.timeout.count()));
  curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, request.max_redirects > 0 ? 1L : 0L);
  curl_easy_setopt(curl, CURLOPT_MAXREDIRS, static_cast<long>(request.max_redirects));
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers.get());
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &transfer);
  curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, take_header);
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, &transfer);
  if (is_loopback(request.url)) curl_easy_setopt(curl, CURLOPT_PROXY, "");
  if (request.method == "HEAD") curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
  if (request.method != "GET" && request.method != "HEAD") {
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request.body.data());
  }
  curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request.method == "HEAD" ? nullptr : request.method.c_str());
}

bool global_init() {
  static const bool ok = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;  // once, and thread-safe as a local static
  return ok;
}

}  // namespace

Result<ClientResponse> http_send(const ClientRequest& request) {
  const std::string place = request.method + " " + request.url;
  if (!global_init()) return internal_error(place + ": libcurl could not be initialised");
  const std::unique_ptr<CURL, CurlDeleter> curl(curl_easy_init());
  if (!curl) return internal_error(place + ": out of memory");
  Transfer transfer;
  transfer.request = &request;
  const HeaderList headers = make_headers(request.headers);
  set_options(curl.get(), request, transfer, headers);
  std::array<char, CURL_ERROR_SIZE> detail{};
  curl_easy_setopt(curl.get(), CURLOPT_ERRORBUFFER, detail.data());
  const CURLcode code = curl_easy_perform(curl.get());
  if (transfer.stopped) return cancelled(place + ": stopped by the receiver");
  if (transfer.too_long) return io_error(fmt::format("{}: the answer is over {} bytes", place, request.max_body_bytes));
  if (code != CURLE_OK) {
    const std::string why = detail[0] != '\0' ? detail.data() : curl_easy_strerror(code);
    if (code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL) return invalid(place + ": " + why);
    return io_error(place + ": " + why);
  }
  long status = 0;
  curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &status);
  transfer.response.status = static_cast<int>(status);
  return std::move(transfer.response);
}

Result<ClientResponse> http_get(const std::string& url) {
  ClientRequest request;
  request.url = url;
  return http_send(request);
}

Result<ClientResponse> http_post_json(const std::string& url, std::string body) {
  ClientRequest request;
  request.method = "POST";
  request.url = url;
  request.headers = {{"Content-Type", "application/json"}};
  request.body = std::move(body);
  return http_send(request);
}

}  // namespace graft::net
