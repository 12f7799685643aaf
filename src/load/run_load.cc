#include "load/run_load.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include "load/arrivals.h"
#include "load/dialect.h"
#include "net/http_multi_client.h"
#include "net/sse_parser.h"

namespace graft::load {
namespace {

using Clock = std::chrono::steady_clock;
using net::TransferFailure;

constexpr std::chrono::milliseconds kLongestWait{100};

// What one request's callbacks share.
struct Call {
  Call(Api api, RequestRecord& r)
      : record(r), reader(api), events([this](std::string_view data) { take_event(data); }) {}

  void take_event(std::string_view data) {
    if (!reader.read_event(data)) return;
    if (!std::isnan(last_token)) record.gaps.push_back(now - last_token);
    if (std::isnan(record.first)) record.first = now;
    last_token = now;
  }

  RequestRecord& record;
  AnswerReader reader;
  net::SseParser events;
  bool streamed = false;
  double now = 0;  // when the bytes came that are being read
  double last_token = std::numeric_limits<double>::quiet_NaN();
};

const char* name_of(TransferFailure failure) {
  switch (failure) {
    case TransferFailure::kConnect:
      return "no connection";
    case TransferFailure::kTimeout:
      return "timeout";
    case TransferFailure::kCutOff:
      return "connection cut";
    case TransferFailure::kStopped:
      return "an event that never ends";
    case TransferFailure::kNone:
    case TransferFailure::kOther:
      break;
  }
  return "transfer failed";
}

class Runner {
 public:
  Runner(const LoadOptions& options, net::HttpMultiClient& client, std::vector<double> due, int64_t first_prompt)
      : options_(options), client_(client), due_(std::move(due)), first_prompt_(first_prompt) {
    run_.requests.resize(static_cast<size_t>(count()));
  }

  Result<LoadRun> run(int64_t count_in_flight, const std::function<void(int64_t)>& on_progress) {
    most_allowed_ = count_in_flight;
    start_ = Clock::now();
    while (done_ < count()) {
      start_due();
      GRAFT_CHECK_OK(client_.run(wait()));
      if (on_progress) on_progress(done_);
    }
    for (const RequestRecord& one : run_.requests) run_.seconds = std::max(run_.seconds, one.end);
    return std::move(run_);
  }

 private:
  [[nodiscard]] int64_t count() const { return static_cast<int64_t>(due_.size()); }
  [[nodiscard]] double now() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }
  [[nodiscard]] bool open_loop() const { return options_.rate > 0; }
  [[nodiscard]] bool has_room() const { return most_allowed_ == 0 || sent_ - done_ < most_allowed_; }

  void start_due() {
    while (sent_ < count() && has_room() && due_[static_cast<size_t>(sent_)] <= now()) start(sent_++);
    run_.most_in_flight = std::max(run_.most_in_flight, sent_ - done_);
  }

  [[nodiscard]] std::chrono::milliseconds wait() const {
    if (sent_ == count() || !has_room()) return kLongestWait;
    const double seconds = due_[static_cast<size_t>(sent_)] - now();
    // Rounded down: better to look once too often than to send late.
    return std::clamp(std::chrono::milliseconds(static_cast<int64_t>(seconds * 1000)), std::chrono::milliseconds(0),
                      kLongestWait);
  }

  [[nodiscard]] Prompt prompt(int64_t number) const {
    if (!options_.prompts.empty()) return options_.prompts[static_cast<size_t>(number) % options_.prompts.size()];
    const auto place = static_cast<uint64_t>(number + first_prompt_);
    return {made_up_prompt(options_.prompt_tokens, options_.seed, place), nullptr, 0};
  }

  void start(int64_t number) {
    RequestRecord& record = run_.requests[static_cast<size_t>(number)];
    if (!options_.models.empty()) record.model = options_.models[static_cast<size_t>(number) % options_.models.size()];
    const auto call = std::make_shared<Call>(options_.api, record);
    net::ClientRequest request = make_request(options_, prompt(number), record.model);
    request.on_head = [call](int status, const net::Headers& headers) {
      call->streamed = status == 200 && headers.get("Content-Type").starts_with("text/event-stream");
      return call->streamed;
    };
    request.on_data = [this, call](std::string_view bytes) {
      call->now = now();
      return call->events.push(bytes);
    };
    record.sent = now();
    record.due = open_loop() ? due_[static_cast<size_t>(number)] : record.sent;
    client_.start(std::move(request), [this, call](const Result<net::ClientResponse>& response, TransferFailure why) {
      finish(*call, response, why);
    });
  }

  void finish(Call& call, const Result<net::ClientResponse>& response, TransferFailure why) {
    call.record.end = now();
    ++done_;
    if (!response.ok()) {
      fail(call.record, name_of(why), response.error().message);
    } else if (response->status != 200) {
      const auto [kind, text] = refusal(response->status, response->body);
      fail(call.record, kind, text);
    } else {
      if (!call.streamed) call.reader.read_whole(response->body);
      if (!call.reader.error().empty()) {
        fail(call.record, call.reader.error(), call.reader.error_text());
      } else if (!call.reader.finished()) {
        fail(call.record, "an answer without its end", "the body ended well, but nothing in it says so");
      }
    }
    call.record.output_tokens = call.reader.output_tokens();
    call.record.prompt_tokens = call.reader.prompt_tokens();
  }

  void fail(RequestRecord& record, const std::string& kind, const std::string& text) {
    record.error = kind;
    run_.error_texts.emplace(kind, text);
  }

  const LoadOptions& options_;
  net::HttpMultiClient& client_;
  std::vector<double> due_;
  int64_t first_prompt_ = 0;
  int64_t most_allowed_ = 0;
  int64_t sent_ = 0;
  int64_t done_ = 0;
  Clock::time_point start_;
  LoadRun run_;
};

Status check(const LoadOptions& options) {
  if (options.requests < 1) return invalid("--requests must be at least 1");
  if (options.rate <= 0 && options.concurrency < 1) return invalid("--concurrency must be at least 1 without --rate");
  if (options.api != Api::kLorax && options.models.empty())
    return invalid("--model is missing: OpenAI's API names one");
  return {};
}

// Connections, caches of compiled schemas and adapters are there before the clock runs.
Status warm_up(const LoadOptions& options, net::HttpMultiClient& client) {
  if (options.warmup < 1) return {};
  LoadOptions closed = options;
  closed.rate = 0;
  Runner runner(closed, client, std::vector<double>(static_cast<size_t>(options.warmup)), 0);
  GRAFT_TRY(const LoadRun run, runner.run(std::max<int64_t>(1, options.concurrency), {}));
  for (const RequestRecord& one : run.requests) {
    if (one.error.empty()) return {};
  }
  const auto& [kind, text] = *run.error_texts.begin();
  return io_error(options.url + ": no request of the warm-up was answered (" + kind + ": " + text + ")");
}

}  // namespace

Result<LoadRun> run_load(const LoadOptions& options, const std::function<void(int64_t done)>& on_progress) {
  GRAFT_CHECK_OK(check(options));
  GRAFT_TRY(const std::unique_ptr<net::HttpMultiClient> client, net::HttpMultiClient::create());
  GRAFT_CHECK_OK(warm_up(options, *client));
  const auto count = static_cast<size_t>(options.requests);
  std::vector<double> due =
      options.rate > 0 ? poisson_arrivals(options.requests, options.rate, options.seed) : std::vector<double>(count);
  Runner runner(options, *client, std::move(due), options.warmup);
  return runner.run(options.concurrency, on_progress);
}

}  // namespace graft::load
