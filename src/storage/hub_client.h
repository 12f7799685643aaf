#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "net/http_client.h"
#include "storage/hub.h"

namespace graft::storage {

struct HubListing {
  std::string commit;
  std::vector<std::string> files;
};

// The answer of /api/models/REPO/revision/REVISION: names that could leave a directory are left out. `place` is what
// errors call it.
Result<HubListing> parse_hub_listing(std::string_view json, const std::string& place);

// How long an answer asks to wait: Retry-After in seconds or as a date (RFC 9110), at most a day. `now` is the Unix
// time where the answer itself has no Date.
std::chrono::milliseconds retry_after(const net::Headers& headers, int64_t now);

struct HubFile {
  std::string name;
  std::string etag;  // what the blob is called: SHA-256 of the bytes (64 digits) of large files, else git's digest
  int64_t size = 0;
};

// The requests of the protocol for one model. Redirects are followed; the token goes to the hub's own origin only.
// Network failures and answers of 429 and 5xx are repeated with growing pauses. Errors: io (no connection) and
// overloaded (429, 5xx) may pass, the others (no such model, no access) will not.
class HubClient {
 public:
  HubClient(const HubSettings& settings, const HubModel& model) : settings_(settings), model_(model) {}

  // GET /api/models/REPO/revision/REVISION
  [[nodiscard]] Result<HubListing> list() const;
  // HEAD /REPO/resolve/COMMIT/FILE
  [[nodiscard]] Result<HubFile> describe(const std::string& commit, const std::string& name) const;

  // One GET of the bytes [begin, file.size) or, with `end`, [begin, end), without repeating anything. Bytes go to
  // `take`, which returns false to stop.
  enum class Outcome { kDone, kCut, kRangeIgnored };
  struct Piece {
    Outcome outcome = Outcome::kDone;
    std::chrono::milliseconds pause{0};  // kCut: what the hub asks to wait
    std::string why;                     // kCut
  };
  Result<Piece> read(const std::string& commit, const HubFile& file, int64_t begin, int64_t end,
                     const std::function<bool(std::string_view)>& take) const;

  // Waits before the attempt that follows `attempt` (from 0).
  void pause(int attempt, std::chrono::milliseconds asked) const;
  [[nodiscard]] std::string place() const { return model_.repo + "@" + model_.revision; }

 private:
  enum class Redirects { kAll, kSameOrigin };
  net::ClientRequest request(std::string method, std::string url) const;
  Result<net::ClientResponse> send_once(net::ClientRequest request, Redirects redirects) const;
  Result<net::ClientResponse> send(const net::ClientRequest& request, Redirects redirects) const;
  [[nodiscard]] std::string url_of(const std::string& commit, const std::string& name) const;
  [[nodiscard]] Error error_of(const net::ClientResponse& response, const std::string& what) const;

  const HubSettings& settings_;
  const HubModel& model_;
};

}  // namespace graft::storage
