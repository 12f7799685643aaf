#include "net/http_client.h"

#include <curl/curl.h>

#include <memory>

#include "fmt/format.h"
#include "net/curl_transfer.h"

namespace graft::net {
namespace {

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

}  // namespace

Result<ClientResponse> http_send(const ClientRequest& request) {
  GRAFT_TRY(const std::unique_ptr<CurlTransfer> transfer, CurlTransfer::create(request));
  return transfer->finish(curl_easy_perform(transfer->handle()));
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
