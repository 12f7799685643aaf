#include "storage/hub_client.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <ctime>
#include <set>
#include <thread>

#include "base/files.h"
#include "base/json.h"
#include "base/strings.h"

namespace graft::storage {
namespace {

using net::ClientRequest;
using net::ClientResponse;
using std::chrono::milliseconds;

constexpr int kMaxRedirects = 10;
constexpr size_t kMaxAnswer = size_t{64} << 20;  // a listing of a very large repository

bool is_redirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

bool may_pass(int status) { return status == 408 || status == 429 || status >= 500; }

std::optional<int64_t> to_integer(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

bool is_hex(std::string_view text) { return text.find_first_not_of("0123456789abcdef") == std::string_view::npos; }

// W/"abc" or "abc" -> abc
std::string bare_etag(std::string_view etag) {
  if (etag.starts_with("W/")) etag.remove_prefix(2);
  while (etag.starts_with('"')) etag.remove_prefix(1);
  while (etag.ends_with('"')) etag.remove_suffix(1);
  return std::string(etag);
}

bool is_blob_name(const std::string& etag) {
  constexpr std::string_view kAllowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
  return !etag.empty() && etag.size() <= 128 && etag.front() != '.' &&
         etag.find_first_not_of(kAllowed) == std::string::npos;
}

// The hub's own words: a header, or "error" in the body.
std::string hub_message(const ClientResponse& response) {
  if (const auto header = response.headers.get("X-Error-Message"); !header.empty()) return printable(header, 300);
  const auto body = parse_json(response.body);
  if (body.ok() && body->is_object() && body->contains("error") && (*body)["error"].is_string()) {
    return printable((*body)["error"].get<std::string>(), 300);
  }
  return "";
}

// Does "bytes 5-9/20" answer a request for what begins at 5 of 20 bytes?
bool answers_range(std::string_view content_range, int64_t begin, int64_t size) {
  return content_range.starts_with(fmt::format("bytes {}-", begin)) &&
         content_range.ends_with(fmt::format("/{}", size));
}

}  // namespace

milliseconds retry_after(const net::Headers& headers, int64_t now) {
  constexpr int64_t kLongest = 86400;
  const std::string_view asked = headers.get("Retry-After");
  auto seconds = to_integer(asked);
  if (!seconds) {
    const auto until = net::parse_http_date(asked);
    // The clock that the date comes from says what time it is there.
    const auto theirs = net::parse_http_date(headers.get("Date"));
    seconds = until ? *until - theirs.value_or(now) : 0;
  }
  return std::chrono::seconds(std::clamp<int64_t>(*seconds, 0, kLongest));
}

ClientRequest HubClient::request(std::string method, std::string url) const {
  ClientRequest request;
  request.method = std::move(method);
  request.url = std::move(url);
  request.headers = {{"User-Agent", "graft"}, {"Accept-Encoding", "identity"}};
  if (!settings_.token.empty()) request.headers.add("Authorization", "Bearer " + settings_.token);
  request.max_body_bytes = kMaxAnswer;
  return request;
}

std::string HubClient::url_of(const std::string& commit, const std::string& name) const {
  return settings_.endpoint + "/" + model_.repo + "/resolve/" + commit + "/" + net::percent_encode(name);
}

Result<ClientResponse> HubClient::send_once(ClientRequest request, Redirects redirects) const {
  const std::string first = request.url;
  std::set<std::string> seen;
  while (true) {
    GRAFT_TRY(ClientResponse response, net::http_send(request));
    const std::string location(response.headers.get("Location"));
    if (!is_redirect(response.status) || location.empty()) return response;
    seen.insert(request.url);
    GRAFT_TRY(std::string next, net::resolve_url(request.url, location));
    if (seen.contains(next) || seen.size() > kMaxRedirects) {
      return invalid(place() + ": " + settings_.endpoint + " redirects in a circle; check HF_ENDPOINT and proxies");
    }
    const bool same = net::same_origin(first, next);
    if (!same && redirects == Redirects::kSameOrigin) return response;
    if (first.starts_with("https://") && !next.starts_with("https://")) {
      return invalid(place() + ": " + settings_.endpoint + " redirects to an address without encryption; not followed");
    }
    // The token is the hub's alone; it does not come back to a request that has left the hub.
    if (!same) request.headers.erase("Authorization");
    request.url = std::move(next);
  }
}

void HubClient::pause(int attempt, milliseconds asked) const {
  const milliseconds own = settings_.retry_delay * (int64_t{1} << std::min(attempt, 16));
  std::this_thread::sleep_for(std::min(std::max(own, asked), settings_.longest_retry_delay));
}

Result<ClientResponse> HubClient::send(const ClientRequest& request, Redirects redirects) const {
  for (int attempt = 0;; ++attempt) {
    auto response = send_once(request, redirects);
    const bool again = response.ok() ? may_pass(response->status) : response.error().kind == ErrorKind::kIo;
    if (!again || attempt + 1 >= settings_.attempts) return response;
    pause(attempt, response.ok() ? retry_after(response->headers, std::time(nullptr)) : milliseconds(0));
  }
}

Result<HubListing> parse_hub_listing(std::string_view json, const std::string& place) {
  auto body = parse_json(json);
  if (!body.ok()) return at(place, body.error());
  HubListing listing;
  const auto sha = body->is_object() ? body->find("sha") : body->end();
  const auto siblings = body->is_object() ? body->find("siblings") : body->end();
  if (sha == body->end() || !sha->is_string() || siblings == body->end() || !siblings->is_array()) {
    return invalid(place + ": answers without a commit and a list of files; is HF_ENDPOINT a hub?");
  }
  listing.commit = sha->get<std::string>();
  if (listing.commit.size() != 40 || !is_hex(listing.commit))
    return invalid(place + ": the commit is not 40 hex digits");
  for (const auto& sibling : *siblings) {
    const auto name = sibling.is_object() ? sibling.find("rfilename") : sibling.end();
    if (!sibling.is_object() || name == sibling.end() || !name->is_string())
      return invalid(place + ": a file without a name");
    if (is_safe_path(name->get<std::string>())) listing.files.push_back(name->get<std::string>());
  }
  return listing;
}

Result<HubListing> HubClient::list() const {
  const std::string url =
      settings_.endpoint + "/api/models/" + model_.repo + "/revision/" + net::percent_encode(model_.revision, false);
  GRAFT_TRY(const ClientResponse response, send(request("GET", url), Redirects::kAll));
  if (response.status != 200) return error_of(response, "");
  return parse_hub_listing(response.body, url);
}

Result<HubFile> HubClient::describe(const std::string& commit, const std::string& name) const {
  const std::string url = url_of(commit, name);
  GRAFT_TRY(const ClientResponse response, send(request("HEAD", url), Redirects::kSameOrigin));
  if (response.status != 200 && !is_redirect(response.status)) return error_of(response, name);
  HubFile file{name, {}, 0};
  const auto header = [&](std::string_view linked, std::string_view plain) {
    const auto value = response.headers.get(linked);
    return value.empty() ? response.headers.get(plain) : value;
  };
  file.etag = bare_etag(header("X-Linked-Etag", "ETag"));
  const auto size = to_integer(header("X-Linked-Size", "Content-Length"));
  if (!is_blob_name(file.etag) || !size) {
    return invalid(url + ": answers without a usable ETag and a size; is HF_ENDPOINT a hub, or a proxy in between?");
  }
  file.size = *size;
  return file;
}

Result<HubClient::Piece> HubClient::read(const std::string& commit, const HubFile& file, int64_t begin, int64_t end,
                                         const std::function<bool(std::string_view)>& take) const {
  ClientRequest get = request("GET", url_of(commit, file.name));
  get.timeout = milliseconds(0);
  get.stall_timeout = settings_.stall_timeout;
  get.max_body_bytes = 1 << 20;
  const bool whole = begin == 0 && end == file.size;
  if (!whole) get.headers.add("Range", fmt::format("bytes={}-{}", begin, end - 1));
  bool ignored = false;
  bool other_bytes = false;
  bool too_many = false;
  int64_t left = end - begin;
  get.on_head = [&](int status, const net::Headers& headers) {
    ignored = !whole && status == 200;
    other_bytes = status == 206 && !answers_range(headers.get("Content-Range"), begin, file.size);
    return whole ? status == 200 : status == 206 && !other_bytes;
  };
  get.on_data = [&](std::string_view piece) {
    left -= static_cast<int64_t>(piece.size());
    too_many = left < 0;
    return !too_many && take(piece);
  };
  const auto response = send_once(get, Redirects::kAll);
  const std::string what = place() + ": " + file.name;
  if (ignored) return Piece{Outcome::kRangeIgnored, milliseconds(0), {}};
  if (too_many || other_bytes) {
    return invalid(what + ": the hub sends other bytes than it announced; a proxy may be in between, try again later");
  }
  if (!response.ok() && response.error().kind == ErrorKind::kIo) {
    return Piece{Outcome::kCut, milliseconds(0), response.error().message};
  }
  if (!response.ok()) return response.error();
  if (response->status == 416) {
    return invalid(what + ": the hub's file ends before the size that it announced; try again later");
  }
  if (may_pass(response->status)) {
    return Piece{Outcome::kCut, retry_after(response->headers, std::time(nullptr)),
                 error_of(*response, file.name).message};
  }
  if (response->status != (whole ? 200 : 206)) return error_of(*response, file.name);
  if (left > 0) {
    return Piece{Outcome::kCut, milliseconds(0),
                 fmt::format("{}: the hub ends the file {} bytes too early", what, left)};
  }
  return Piece{};
}

Error HubClient::error_of(const ClientResponse& response, const std::string& what) const {
  const std::string words = hub_message(response);
  const std::string said = words.empty() ? "" : " (" + words + ")";
  const auto code = response.headers.get("X-Error-Code");
  const std::string repo = "'" + model_.repo + "'";
  const std::string login = "set HF_TOKEN to a token that may read it, or log in with: hf auth login";
  const bool bad_token = words.find("Invalid credentials") != std::string::npos;
  if (code == "GatedRepo") {
    return invalid("access to " + repo + " is gated" + said + "; accept its conditions on " + settings_.endpoint + "/" +
                   model_.repo + ", then " + login);
  }
  if (code == "RevisionNotFound") {
    return not_found("no revision '" + model_.revision + "' of " + repo + said + "; give a branch, a tag or a commit");
  }
  if (code == "EntryNotFound") return not_found(place() + ": no file '" + printable(what) + "'" + said);
  if (code == "RepoNotFound" || (response.status == 401 && !bad_token) || response.status == 404) {
    return not_found("no model " + repo + " on " + settings_.endpoint + said +
                     "; check the name, and if it is private, " + login);
  }
  if (response.status == 401) return invalid(settings_.endpoint + " refuses the token" + said + "; " + login);
  if (response.status == 403) {
    return invalid("access to " + repo + " is refused" + said + "; check what the token of HF_TOKEN may read");
  }
  const std::string status =
      fmt::format("{} answers {} {}{}", settings_.endpoint, response.status, net::reason_phrase(response.status), said);
  if (response.status == 429) {
    return overloaded(place() + ": " + status + "; wait a while, or set HF_TOKEN for a higher limit");
  }
  if (may_pass(response.status)) return overloaded(place() + ": " + status + "; try again later");
  return invalid(place() + ": " + status);
}

}  // namespace graft::storage
