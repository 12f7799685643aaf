#include "net/http_server.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <nlohmann/json.hpp>
#include <thread>
#include <utility>

#include "fmt/format.h"
#include "net/connection.h"
#include "spdlog/spdlog.h"

namespace graft::net {
namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

namespace {

void run_handler(const ServerCore& core, const Handler& handler, Request request, const ResponseWriter& writer) {
  const std::string path = request.path;
  std::string what = "unknown exception";
  try {
    handler(std::move(request), writer);
    return;
  } catch (const std::exception& e) {
    what = e.what();
  } catch (...) {  // what a handler throws must not end the server
  }
  spdlog::error("handler of {} failed: {}", path, what);
  writer.send(core.error(path, 500, "internal error"));
}

void run_io(asio::io_context& io) {
  while (true) {
    try {
      io.run();
      return;
    } catch (const std::exception& e) {  // out of memory for one event: the others go on
      spdlog::error("I/O event failed: {}", e.what());
    }
  }
}

Result<tcp::acceptor> listen(asio::io_context& io, const std::string& host, uint16_t port) {
  error_code error;
  const auto address = asio::ip::make_address(host, error);
  if (error) return invalid(fmt::format("host \"{}\" is not an IP address; try 127.0.0.1 or 0.0.0.0", host));
  tcp::acceptor acceptor(asio::make_strand(io));
  const tcp::endpoint endpoint(address, port);
  acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
  if (!error) return acceptor;
  const std::string place = fmt::format("cannot listen on {}:{}", host, port);
  if (error == asio::error::address_in_use) {
    return io_error(fmt::format(
        "{}: the port is in use; choose another one (0 takes a free one) or stop the program that holds it", place));
  }
  if (error == asio::error::access_denied) {
    return io_error(place + ": no permission; ports below 1024 need root, choose a higher one");
  }
  return io_error(place + ": " + error.message());
}

}  // namespace

Response ServerCore::error(std::string_view path, int status, std::string_view message) const {
  if (options.error_response) return options.error_response(path, status, message);
  const nlohmann::json body{{"error", message}};
  return Response::json(status, body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

void ServerCore::dispatch(Request request, std::shared_ptr<Exchange> exchange) {
  const ResponseWriter writer(std::move(exchange));
  const Router::Match match = router.match(request);
  if (match.handler == nullptr && request.method == "OPTIONS" && !match.allow.empty()) {
    writer.send({204, {{"Allow", match.allow}}, ""});
    return;
  }
  if (options.guard) {
    if (auto refusal = options.guard(request)) {
      writer.send(std::move(*refusal));
      return;
    }
  }
  if (match.handler == nullptr) {
    const bool known = !match.allow.empty();
    Response response = error(request.path, known ? 405 : 404,
                              fmt::format("{} {}: {}", request.method, request.path,
                                          known ? "this path does not take this method" : "no such path"));
    if (known) response.headers.set("Allow", match.allow);
    writer.send(std::move(response));
    return;
  }
  auto shared = std::make_shared<Request>(std::move(request));
  const bool posted = workers->post(
      [this, handler = match.handler, shared, writer] { run_handler(*this, *handler, std::move(*shared), writer); });
  if (!posted) writer.send(error(shared->path, 503, "the server is stopping"));
}

struct HttpServer::Impl {
  explicit Impl(ServerOptions options, Router router) : core(std::make_shared<ServerCore>()) {
    core->options = std::move(options);
    core->router = std::move(router);
    core->workers = core->options.workers;
    if (!core->workers) core->workers = std::make_shared<WorkerPool>(core->options.worker_threads);
  }

  asio::awaitable<void> accept_loop();
  void accept_one(tcp::socket socket);
  asio::awaitable<void> turn_away(tcp::socket socket);
  void stop(std::chrono::milliseconds grace);
  void ask_connections(bool cut);

  std::shared_ptr<ServerCore> core;
  asio::io_context io;
  asio::executor_work_guard<asio::io_context::executor_type> work{io.get_executor()};
  std::unique_ptr<tcp::acceptor> acceptor;
  uint16_t port = 0;
  std::vector<std::thread> threads;
  std::mutex stop_mutex;
};

asio::awaitable<void> HttpServer::Impl::accept_loop() {
  while (!core->stopping) {
    error_code error;
    tcp::socket socket =
        co_await acceptor->async_accept(asio::make_strand(io), asio::redirect_error(asio::use_awaitable, error));
    if (core->stopping) co_return;
    if (!error) {
      accept_one(std::move(socket));
      continue;
    }
    // Out of file descriptors, or the client gave up already: neither ends the server.
    asio::steady_timer timer(acceptor->get_executor(), std::chrono::milliseconds(50));
    co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, error));
  }
}

void HttpServer::Impl::accept_one(tcp::socket socket) {
  const auto executor = socket.get_executor();
  size_t open = 0;
  {
    const std::lock_guard lock(core->mutex);
    open = core->connections.size();
  }
  if (open >= core->options.max_connections) {
    asio::co_spawn(executor, turn_away(std::move(socket)), asio::detached);
    return;
  }
  auto connection = std::make_shared<Connection>(std::move(socket), core);
  asio::co_spawn(
      executor, [connection]() -> asio::awaitable<void> { return connection->run(); }, [connection](auto&&...) {});
}

asio::awaitable<void> HttpServer::Impl::turn_away(tcp::socket socket) {
  if (core->tls) co_return;  // a refusal is not worth a handshake
  const Response response = core->error("/", 503, "too many connections");
  const std::string text = fmt::format(
      "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: {}\r\n"
      "Connection: close\r\n\r\n{}",
      response.body.size(), response.body);
  error_code ignored;
  co_await socket.async_write_some(asio::buffer(text), asio::redirect_error(asio::use_awaitable, ignored));
  socket.shutdown(tcp::socket::shutdown_send, ignored);
}

void HttpServer::Impl::ask_connections(bool cut) {
  std::vector<std::shared_ptr<Connection>> open;
  {
    const std::lock_guard lock(core->mutex);
    for (Connection* connection : core->connections) {
      if (auto alive = connection->weak_from_this().lock()) open.push_back(std::move(alive));
    }
  }
  for (const auto& connection : open) connection->request_stop(cut);
}

void HttpServer::Impl::stop(std::chrono::milliseconds grace) {
  const std::lock_guard once(stop_mutex);
  if (threads.empty()) return;
  core->stopping = true;
  asio::post(acceptor->get_executor(), [this] {
    error_code ignored;
    acceptor->close(ignored);
  });
  ask_connections(false);
  {
    std::unique_lock lock(core->mutex);
    core->empty.wait_for(lock, grace, [&] { return core->connections.empty(); });
  }
  // Again and again: a connection that was being accepted when it was asked first may have been missed.
  while (true) {
    ask_connections(true);
    std::unique_lock lock(core->mutex);
    if (core->empty.wait_for(lock, std::chrono::milliseconds(50), [&] { return core->connections.empty(); })) break;
  }
  core->workers->stop();
  work.reset();
  io.stop();
  for (auto& thread : threads) thread.join();
  threads.clear();
}

Result<std::unique_ptr<HttpServer>> HttpServer::start(ServerOptions options, Router router) {
  auto impl = std::make_unique<Impl>(std::move(options), std::move(router));
  const ServerOptions& o = impl->core->options;
  if (!o.tls_certificate.empty() || !o.tls_key.empty()) {
    GRAFT_TRY(impl->core->tls, make_tls_context(o.tls_certificate, o.tls_key));
  }
  GRAFT_TRY(tcp::acceptor acceptor, listen(impl->io, o.host, o.port));
  error_code ignored;
  impl->port = acceptor.local_endpoint(ignored).port();
  impl->acceptor = std::make_unique<tcp::acceptor>(std::move(acceptor));
  asio::co_spawn(impl->acceptor->get_executor(), impl->accept_loop(), asio::detached);
  for (int i = 0; i < std::max(1, o.io_threads); ++i) {
    impl->threads.emplace_back([raw = impl.get()] { run_io(raw->io); });
  }
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpServer::~HttpServer() { stop(); }
uint16_t HttpServer::port() const { return impl_->port; }
int HttpServer::active_requests() const { return impl_->core->active; }
std::shared_ptr<WorkerPool> HttpServer::workers() const { return impl_->core->workers; }
void HttpServer::stop(std::chrono::milliseconds grace) { impl_->stop(grace); }

}  // namespace graft::net
