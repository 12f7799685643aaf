#include "net/connection.h"

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <ctime>
#include <utility>

#include "fmt/format.h"
#include "fmt/ranges.h"

namespace graft::net {
namespace asio = boost::asio;
namespace http = boost::beast::http;
using boost::system::error_code;
using Parser = http::request_parser<http::string_body>;

namespace {

constexpr size_t kWritePiece = 64 * 1024;
constexpr size_t kMaxPipelined = 64 * 1024;  // bytes read ahead while a handler works
constexpr size_t kMaxLinger = 64 * 1024 * 1024;
constexpr auto kLingerTime = std::chrono::seconds(2);
constexpr auto kForever = std::chrono::hours(24 * 365);

std::string http_date() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&now, &utc);
  std::array<char, 40> text{};
  const size_t n = std::strftime(text.data(), text.size(), "%a, %d %b %Y %H:%M:%S GMT", &utc);
  return {text.data(), n};
}

bool has_no_body(int status) { return status == 204 || status == 304 || status / 100 == 1; }

std::string clean(std::string value) {
  for (char& c : value) {
    if (c == '\r' || c == '\n' || c == '\0') c = ' ';
  }
  return value;
}

Request to_request(Parser& parser) {
  auto message = parser.release();
  Request request;
  request.method = std::string(message.method_string());
  request.target = origin_form(message.target());
  const size_t question = request.target.find('?');
  request.path = percent_decode(std::string_view(request.target).substr(0, question));
  if (question != std::string::npos) request.query = request.target.substr(question + 1);
  request.http_1_0 = message.version() < 11;
  for (const auto& field : message) request.headers.add(std::string(field.name_string()), std::string(field.value()));
  request.body = std::move(message.body());
  return request;
}

// Counts a request for as long as it lives.
class Activity {
 public:
  explicit Activity(std::atomic<int>& count) : count_(count) { ++count_; }
  ~Activity() { --count_; }
  Activity(const Activity&) = delete;
  Activity& operator=(const Activity&) = delete;

 private:
  std::atomic<int>& count_;
};

struct Refusal {
  int status;
  std::string_view message;
};

Refusal refusal_for(const error_code& error) {
  if (error == http::error::header_limit) return {431, "the request's header is too large"};
  if (error == http::error::body_limit) return {413, "the request's body is too large"};
  if (error == http::error::bad_version) return {505, "only HTTP/1.0 and HTTP/1.1 are understood"};
  return {400, "not a well-formed HTTP request"};
}

}  // namespace

void ServerCore::add_cors(std::string_view origin, Headers& headers) const {
  const CorsOptions& cors = options.cors;
  if (origin.empty()) return;
  const auto allowed =
      std::ranges::find_if(cors.allow_origins, [&](const std::string& o) { return o == "*" || o == origin; });
  if (allowed == cors.allow_origins.end()) return;
  const bool anybody = *allowed == "*" && !cors.allow_credentials;
  headers.set("Access-Control-Allow-Origin", anybody ? "*" : std::string(origin));
  headers.set("Access-Control-Allow-Methods", fmt::format("{}", fmt::join(cors.allow_methods, ", ")));
  headers.set("Access-Control-Allow-Headers", fmt::format("{}", fmt::join(cors.allow_headers, ", ")));
  if (!cors.expose_headers.empty()) {
    headers.set("Access-Control-Expose-Headers", fmt::format("{}", fmt::join(cors.expose_headers, ", ")));
  }
  if (cors.allow_credentials) headers.set("Access-Control-Allow-Credentials", "true");
  if (!anybody) headers.add("Vary", "Origin");
}

Connection::Connection(asio::ip::tcp::socket socket, std::shared_ptr<ServerCore> core)
    : socket_(std::move(socket)),
      core_(std::move(core)),
      signal_(socket_.get_executor()),
      write_timer_(socket_.get_executor()) {
  if (core_->tls) tls_.emplace(socket_, *core_->tls);
  const std::lock_guard lock(core_->mutex);
  core_->connections.insert(this);
}

Connection::~Connection() {
  const std::lock_guard lock(core_->mutex);
  core_->connections.erase(this);
  core_->empty.notify_all();
}

void Connection::request_stop(bool cut) {
  asio::post(socket_.get_executor(), [self = shared_from_this(), cut] {
    self->cut_ = self->cut_ || cut;
    if (self->idle_ || cut) self->close();
    self->signal_.cancel();
  });
}

asio::awaitable<void> Connection::run() {
  try {
    const bool ready = co_await shake_hands();
    if (ready) co_await serve();
    if (secure_) co_await say_goodbye();
  } catch (const std::exception&) {
    // Out of memory while reading this client, or the like: this client's loss only.
  }
  if (exchange_) {
    exchange_->disconnect();
    exchange_->detach();
  }
  close();
}

asio::awaitable<bool> Connection::shake_hands() {
  error_code error;
  if (tls_) {
    close_at(Clock::now() + core_->options.header_timeout);
    co_await tls_->async_handshake(asio::ssl::stream_base::server, asio::redirect_error(asio::use_awaitable, error));
    ++write_id_;
    write_timer_.cancel();
    secure_ = !error;
  }
  co_return !error && !cut_;
}

// Tells the client that this is the end, and not somebody who cut the line (close_notify).
asio::awaitable<void> Connection::say_goodbye() {
  error_code error;
  if (!socket_.is_open() || cut_) co_return;
  close_at(Clock::now() + kLingerTime);
  if (reading_) socket_.cancel(error);
  while (reading_) co_await pause(Clock::now() + kForever);
  co_await tls_->async_shutdown(asio::redirect_error(asio::use_awaitable, error));
  ++write_id_;
  write_timer_.cancel();
}

asio::awaitable<void> Connection::serve() {
  error_code ignored;
  socket_.set_option(asio::ip::tcp::no_delay(true), ignored);
  while (!cut_ && !eof_) {
    idle_ = true;
    if (core_->stopping && input_.empty()) co_return;
    if (input_.empty()) {
      const Input input = co_await read_more(Clock::now() + core_->options.idle_timeout);
      if (input != Input::kData) co_return;
    }
    idle_ = false;
    const bool again = co_await serve_one();
    if (!again) co_return;
  }
}

// Reads one request, has it handled and answers it. false: the connection ends.
asio::awaitable<bool> Connection::serve_one() {
  Parser parser;
  parser.header_limit(static_cast<uint32_t>(core_->options.max_header_bytes));
  parser.body_limit(core_->options.max_body_bytes);
  parser.eager(true);
  auto deadline = Clock::now() + core_->options.header_timeout;
  bool header_seen = false;
  while (true) {
    error_code error;
    const size_t used = parser.put(asio::buffer(input_), error);
    input_.erase(0, used);
    const std::string path =
        percent_decode(std::string_view(parser.get().target()).substr(0, parser.get().target().find('?')));
    if (error && error != http::error::need_more) {
      const auto [status, message] = refusal_for(error);
      co_await refuse(status, std::string(message), path);
      co_return false;
    }
    if (parser.is_done()) break;
    if (!header_seen && parser.is_header_done()) {
      header_seen = true;
      deadline = Clock::now() + core_->options.body_timeout;
      if (equal_ignoring_case(std::string(parser.get()[http::field::expect]), "100-continue")) {
        const bool sent = co_await write("HTTP/1.1 100 Continue\r\n\r\n");
        if (!sent) co_return false;
      }
    }
    if (!error && used > 0 && !input_.empty()) continue;
    const Input input = co_await read_more(deadline);
    if (input == Input::kEof) co_return false;
    if (input == Input::kTimeout) {
      co_await refuse(408, "the request did not arrive in time", path);
      co_return false;
    }
  }
  const bool keep_alive = parser.keep_alive();
  co_return co_await answer(to_request(parser), keep_alive);
}

asio::awaitable<bool> Connection::answer(Request request, bool keep_alive) {
  const Clock::time_point began = Clock::now();
  Headers standing;
  if (core_->options.standing_headers) standing = core_->options.standing_headers(request);
  const Asked asked{request.method,
                    request.path,
                    std::string(request.headers.get("Origin")),
                    std::move(standing),
                    request.method == "HEAD",
                    request.http_1_0,
                    keep_alive};
  status_ = 0;
  const Activity active(core_->active);
  // The exchange may be told things after this connection has ended: it only holds a weak pointer.
  exchange_ = std::make_shared<Exchange>(core_->options.max_stream_backlog,
                                         [weak = weak_from_this(), executor = socket_.get_executor()] {
                                           asio::post(executor, [weak] {
                                             if (const auto self = weak.lock()) self->signal_.cancel();
                                           });
                                         });
  const std::shared_ptr<Exchange> exchange = exchange_;
  watching_ = true;
  start_read();
  if (eof_) exchange->disconnect();
  core_->dispatch(std::move(request), exchange);
  const Outcome outcome = co_await relay(asked, *exchange);
  watching_ = false;
  exchange_.reset();
  if (outcome == Outcome::kBroken) exchange->disconnect();
  exchange->detach();
  if (core_->options.log) {
    core_->options.log(
        {asked.method, asked.path, status_, outcome != Outcome::kBroken, Clock::now() - began, asked.standing});
  }
  co_return outcome == Outcome::kKeepAlive;
}

// Waits for the handler's answer and passes it on.
asio::awaitable<Connection::Outcome> Connection::relay(const Asked& asked, Exchange& exchange) {
  while (!cut_) {
    Exchange::Progress progress = exchange.take();
    if (progress.head) {
      const StreamHead head = std::move(*progress.head);
      if (progress.chunks.empty() && !progress.ended && !progress.aborted && !progress.response) {
        progress = co_await hold(exchange, Clock::now() + head.hold);
      }
      const bool replaced = progress.response || (progress.aborted && progress.chunks.empty());
      if (!replaced) co_return co_await send_stream(asked, exchange, head, std::move(progress));
    }
    if (progress.aborted) progress.response = core_->error(asked.path, 500, "the request was dropped unanswered");
    if (progress.response) co_return co_await send_whole(asked, std::move(*progress.response));
    co_await pause(Clock::now() + kForever);
  }
  co_return Outcome::kBroken;
}

// Waits for the first piece of a stream before its header goes out.
asio::awaitable<Exchange::Progress> Connection::hold(Exchange& exchange, Clock::time_point until) {
  Exchange::Progress progress = exchange.take();
  const auto quiet = [&] {
    return progress.chunks.empty() && !progress.ended && !progress.aborted && !progress.response;
  };
  while (quiet() && !eof_ && !cut_ && Clock::now() < until) {
    co_await pause(until);
    progress = exchange.take();
  }
  if (quiet()) progress = exchange.commit();
  co_return progress;
}

std::string Connection::head_text(const Asked& asked, int status, const Headers& headers) {
  std::string out = fmt::format("HTTP/{} {} {}\r\n", asked.http_1_0 ? "1.0" : "1.1", status, reason_phrase(status));
  for (const auto& [name, value] : headers) out += clean(name) + ": " + clean(value) + "\r\n";
  out += "Date: " + http_date() + "\r\n";
  if (!asked.keep_alive) {
    out += "Connection: close\r\n";
  } else if (asked.http_1_0) {
    out += "Connection: keep-alive\r\n";
  }
  return out;
}

// What every answer gets, whoever wrote it.
void Connection::finish_head(const Asked& asked, int status, Headers& headers) {
  status_ = status;
  core_->add_cors(asked.origin, headers);
  for (const auto& [name, value] : asked.standing) headers.set(name, value);
}

asio::awaitable<Connection::Outcome> Connection::send_whole(const Asked& asked, Response response) {
  Asked form = asked;
  form.keep_alive = asked.keep_alive && !core_->stopping;
  finish_head(asked, response.status, response.headers);
  std::string text = head_text(form, response.status, response.headers);
  const bool body = !has_no_body(response.status);
  if (body) text += fmt::format("Content-Length: {}\r\n", response.body.size());
  text += "\r\n";
  if (body && !asked.head) text += response.body;
  const bool sent = co_await write(text);
  if (!sent) co_return Outcome::kBroken;
  co_return form.keep_alive ? Outcome::kKeepAlive : Outcome::kClose;
}

asio::awaitable<Connection::Outcome> Connection::send_stream(const Asked& asked, Exchange& exchange, StreamHead head,
                                                             Exchange::Progress progress) {
  const bool chunked = !asked.http_1_0;
  const bool bodiless = asked.head || has_no_body(head.status);
  Asked form = asked;
  form.keep_alive = asked.keep_alive && chunked && !core_->stopping;
  finish_head(asked, head.status, head.headers);
  std::string out = head_text(form, head.status, head.headers);
  out += chunked && !has_no_body(head.status) ? "Transfer-Encoding: chunked\r\n\r\n" : "\r\n";
  const auto frame = [&](const std::string& piece) {
    if (bodiless) return;
    out += chunked ? fmt::format("{:x}\r\n{}\r\n", piece.size(), piece) : piece;
  };
  const bool beats = head.heartbeat_every.count() > 0 && !head.heartbeat.empty() && !bodiless;
  Clock::time_point next_beat = Clock::now() + kForever;
  while (true) {
    size_t taken = 0;
    for (const auto& piece : progress.chunks) {
      frame(piece);
      taken += piece.size();
    }
    progress.chunks.clear();
    if (progress.ended && chunked && !bodiless) out += "0\r\n\r\n";
    if (!out.empty()) {
      const bool sent = co_await write(out);
      if (!sent) co_return Outcome::kBroken;
      out.clear();
      if (beats) next_beat = Clock::now() + head.heartbeat_every;
    }
    if (taken > 0) exchange.written(taken);
    if (progress.ended) co_return form.keep_alive ? Outcome::kKeepAlive : Outcome::kClose;
    if (progress.aborted || eof_ || cut_) co_return Outcome::kBroken;
    progress = exchange.take();
    if (!progress.chunks.empty() || progress.ended || progress.aborted) continue;
    co_await pause(next_beat);
    if (Clock::now() >= next_beat) frame(head.heartbeat);
  }
}

asio::awaitable<void> Connection::refuse(int status, std::string message, std::string path) {
  Asked asked;
  asked.path = std::move(path);
  Response response = core_->error(asked.path, status, message);
  const Outcome outcome = co_await send_whole(asked, std::move(response));
  if (outcome != Outcome::kBroken) co_await linger();
}

// Closing a socket with unread input resets it, and the client would lose our answer: read on for a little while.
asio::awaitable<void> Connection::linger() {
  error_code ignored;
  if (!tls_) socket_.shutdown(asio::ip::tcp::socket::shutdown_send, ignored);
  const auto deadline = Clock::now() + kLingerTime;
  size_t dropped = 0;
  while (dropped < kMaxLinger && !cut_) {
    dropped += input_.size();
    input_.clear();
    const Input input = co_await read_more(deadline);
    if (input != Input::kData) co_return;
  }
}

template <class Handler>
void Connection::async_read(Handler handler) {
  if (tls_) {
    tls_->async_read_some(asio::buffer(chunk_), std::move(handler));
  } else {
    socket_.async_read_some(asio::buffer(chunk_), std::move(handler));
  }
}

void Connection::start_read() {
  if (reading_ || eof_ || input_.size() >= core_->options.max_header_bytes + kMaxPipelined) return;
  reading_ = true;
  async_read([self = shared_from_this()](error_code error, size_t n) {
    self->reading_ = false;
    self->input_.append(self->chunk_.data(), n);
    if (error) {
      self->on_end_of_input();
    } else if (self->watching_) {
      self->start_read();
    }
    self->signal_.cancel();
  });
}

void Connection::on_end_of_input() {
  eof_ = true;
  if (exchange_) exchange_->disconnect();
}

asio::awaitable<Connection::Input> Connection::read_more(Clock::time_point deadline) {
  const size_t before = input_.size();
  start_read();
  while (reading_ && input_.size() == before) {
    if (Clock::now() >= deadline) co_return Input::kTimeout;
    co_await pause(deadline);
    if (cut_) co_return Input::kEof;
  }
  co_return input_.size() > before ? Input::kData : Input::kEof;
}

asio::awaitable<void> Connection::pause(Clock::time_point until) {
  signal_.expires_at(until);
  error_code ignored;
  co_await signal_.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
}

void Connection::close_at(Clock::time_point deadline) {
  write_timer_.expires_at(deadline);
  write_timer_.async_wait([weak = weak_from_this(), id = ++write_id_](error_code error) {
    const auto self = weak.lock();
    if (!error && self && self->write_id_ == id) self->close();
  });
}

asio::awaitable<error_code> Connection::write_piece(std::string_view piece) {
  error_code error;
  if (tls_) {
    co_await asio::async_write(*tls_, asio::buffer(piece), asio::redirect_error(asio::use_awaitable, error));
  } else {
    co_await asio::async_write(socket_, asio::buffer(piece), asio::redirect_error(asio::use_awaitable, error));
  }
  co_return error;
}

asio::awaitable<bool> Connection::write(std::string_view data) {
  while (!data.empty()) {
    const std::string_view piece = data.substr(0, kWritePiece);
    close_at(Clock::now() + core_->options.write_timeout);
    const error_code error = co_await write_piece(piece);
    ++write_id_;
    write_timer_.cancel();
    if (error) co_return false;
    data.remove_prefix(piece.size());
  }
  co_return true;
}

void Connection::close() {
  error_code ignored;
  socket_.close(ignored);
}

}  // namespace graft::net
