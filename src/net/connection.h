#pragma once

// Internal to the room: includes Asio. Only connection.cc and http_server.cc may include this.

#include <array>
#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>

#include "net/exchange.h"
#include "net/http_server.h"
#include "net/tls.h"

namespace graft::net {

class Connection;

// What all connections of a server share.
struct ServerCore {
  ServerOptions options;
  Router router;
  std::shared_ptr<WorkerPool> workers;
  std::atomic<bool> stopping{false};
  std::atomic<int> active{0};                      // requests
  std::shared_ptr<boost::asio::ssl::context> tls;  // null: plain

  std::mutex mutex;
  std::condition_variable empty;
  std::set<Connection*> connections;

  // Runs the route's handler on a worker.
  void dispatch(Request request, std::shared_ptr<Exchange> exchange);
  [[nodiscard]] Response error(std::string_view path, int status, std::string_view message) const;
  void add_cors(std::string_view origin, Headers& headers) const;
};

// One client. Everything runs on the socket's executor, which is a strand.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(boost::asio::ip::tcp::socket socket, std::shared_ptr<ServerCore> core);
  ~Connection();

  boost::asio::awaitable<void> run();
  void request_stop(bool cut);  // any thread. Closes when idle; with `cut` at once.

 private:
  using Clock = std::chrono::steady_clock;
  enum class Input { kData, kEof, kTimeout };
  enum class Outcome { kKeepAlive, kClose, kBroken };  // kBroken: the client did not get the whole answer

  // What the answer's form depends on.
  struct Asked {
    std::string method;
    std::string path;
    std::string origin;
    Headers standing;
    bool head = false;
    bool http_1_0 = false;
    bool keep_alive = false;
  };

  boost::asio::awaitable<bool> shake_hands();
  boost::asio::awaitable<void> say_goodbye();
  boost::asio::awaitable<void> serve();
  boost::asio::awaitable<bool> serve_one();
  boost::asio::awaitable<bool> answer(Request request, bool keep_alive);
  boost::asio::awaitable<Outcome> relay(const Asked& asked, Exchange& exchange);
  boost::asio::awaitable<Outcome> send_whole(const Asked& asked, Response response);
  boost::asio::awaitable<Outcome> send_stream(const Asked& asked, Exchange& exchange, StreamHead head,
                                              Exchange::Progress progress);
  boost::asio::awaitable<Exchange::Progress> hold(Exchange& exchange, Clock::time_point until);
  static std::string head_text(const Asked& asked, int status, const Headers& headers);
  void finish_head(const Asked& asked, int status, Headers& headers);
  boost::asio::awaitable<void> refuse(int status, std::string message, std::string path);

  boost::asio::awaitable<Input> read_more(Clock::time_point deadline);
  boost::asio::awaitable<bool> write(std::string_view data);
  boost::asio::awaitable<void> pause(Clock::time_point until);
  boost::asio::awaitable<void> linger();
  void start_read();
  void on_end_of_input();
  void close();

  template <class Handler>
  void async_read(Handler handler);
  boost::asio::awaitable<boost::system::error_code> write_piece(std::string_view piece);
  void close_at(Clock::time_point deadline);  // unless something moves before; see write_id_

  boost::asio::ip::tcp::socket socket_;
  std::optional<boost::asio::ssl::stream<boost::asio::ip::tcp::socket&>> tls_;  // over socket_
  std::shared_ptr<ServerCore> core_;
  boost::asio::steady_timer signal_;       // cancelled when bytes or news from the handler arrive
  boost::asio::steady_timer write_timer_;  // closes the socket of a reader that takes nothing
  uint64_t write_id_ = 0;
  std::array<char, 16 * 1024> chunk_{};  // where the one read in flight goes
  std::string input_;                    // read but not parsed
  bool reading_ = false;
  bool watching_ = false;  // a handler works: keep reading, so that the client's end is noticed
  bool eof_ = false;
  bool idle_ = true;  // between requests
  bool cut_ = false;
  bool secure_ = false;  // the handshake is done
  int status_ = 0;       // of the answer that is being sent
  std::shared_ptr<Exchange> exchange_;
};

}  // namespace graft::net
