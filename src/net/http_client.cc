#include "net/http_client.h"

#include <curl/curl.h>

#include <array>
#include <memory>
#include <optional>

#include "fmt/format.h"

namespace graft::net {
namespace {

struct Transfer {
  const ClientRequest* request = nullptr;
  CURL* curl = nullptr;
  ClientResponse response;
  std::optional<bool> to_receiver;  // whether on_data takes the body; not asked yet
  bool stopped = false;
  bool too_long = false;
};

// No exception may pass through libcurl: one ends the transfer instead.
size_t take_body(char* data, size_t size, size_t count, void* user) try {
  auto& transfer = *static_cast<Transfer*>(user);
  const std::string_view piece(data, size * count);
  if (!transfer.to_receiver) {
    long status = 0;
    curl_easy_getinfo(transfer.curl, CURLINFO_RESPONSE_CODE, &status);
    const auto& on_head = transfer.request->on_head;
    transfer.to_receiver = transfer.request->on_data != nullptr &&
                           (on_head == nullptr || on_head(static_cast<int>(status), transfer.response.headers));
  }
  if (*transfer.to_receiver) {
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

struct UrlDeleter {
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
};
using Url = std::unique_ptr<CURLU, UrlDeleter>;

std::string url_part(CURLU* url, CURLUPart part) {
  char* text = nullptr;
  if (curl_url_get(url, part, &text, CURLU_DEFAULT_PORT) != CURLUE_OK) return {};
  std::string copy = text;
  curl_free(text);
  return copy;
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
  if (request.stall_timeout.count() > 0) {
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, static_cast<long>(request.stall_timeout.count()));
  }
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
  transfer.curl = curl.get();
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

Result<std::string> resolve_url(const std::string& base, const std::string& location) {
  const Url url(curl_url());
  if (!url) return internal_error("out of memory");
  // Setting a relative URL on one that is there resolves it.
  for (const std::string& part : {base, location}) {
    if (curl_url_set(url.get(), CURLUPART_URL, part.c_str(), 0) != CURLUE_OK)
      return invalid(part + ": not a valid URL");
  }
  char* text = nullptr;
  if (curl_url_get(url.get(), CURLUPART_URL, &text, 0) != CURLUE_OK) return invalid(location + ": not a valid URL");
  std::string resolved = text;
  curl_free(text);
  return resolved;
}

bool same_origin(const std::string& a, const std::string& b) {
  const Url one(curl_url());
  const Url other(curl_url());
  if (!one || !other || curl_url_set(one.get(), CURLUPART_URL, a.c_str(), 0) != CURLUE_OK ||
      curl_url_set(other.get(), CURLUPART_URL, b.c_str(), 0) != CURLUE_OK) {
    return false;
  }
  for (const CURLUPart part : {CURLUPART_SCHEME, CURLUPART_HOST, CURLUPART_PORT}) {
    if (!equal_ignoring_case(url_part(one.get(), part), url_part(other.get(), part))) return false;
  }
  return true;
}

std::string percent_encode(std::string_view path, bool keep_slashes) {
  constexpr std::string_view kPlain = "-._~";
  std::string out;
  for (const char c : path) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       kPlain.find(c) != std::string_view::npos || (keep_slashes && c == '/');
    if (plain) {
      out += c;
    } else {
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return out;
}

std::optional<int64_t> parse_http_date(std::string_view text) {
  constexpr size_t kLongest = 64;
  if (text.size() > kLongest || text.find(':') == std::string_view::npos) return std::nullopt;
  const time_t time = curl_getdate(std::string(text).c_str(), nullptr);
  return time < 0 ? std::nullopt : std::optional<int64_t>(time);
}

}  // namespace graft::net
