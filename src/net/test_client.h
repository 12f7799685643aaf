#pragma once

// For tests: a raw TCP client that can be as rude as it likes.

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace graft::net {

class RawClient {
 public:
  // A small receive buffer makes a slow reader slow at once.
  explicit RawClient(uint16_t port, int receive_buffer = 0) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    if (receive_buffer > 0) ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  }
  ~RawClient() { close(); }
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  [[nodiscard]] bool connected() const { return connected_; }

  bool send(std::string_view data) {
    while (!data.empty()) {
      const ssize_t n = ::send(fd_, data.data(), data.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      data.remove_prefix(static_cast<size_t>(n));
    }
    return true;
  }

  // Everything up to the end of stream.
  std::string read_all(std::chrono::milliseconds timeout = std::chrono::seconds(20)) {
    while (read_some(timeout)) continue;
    return std::exchange(received_, "");
  }

  // Up to and including `mark`; what came after it stays for the next call. Empty where the stream ended before.
  std::string read_until(std::string_view mark, std::chrono::milliseconds timeout = std::chrono::seconds(20)) {
    size_t found = received_.find(mark);
    while (found == std::string::npos) {
      if (!read_some(timeout)) return {};
      found = received_.find(mark);
    }
    std::string out = received_.substr(0, found + mark.size());
    received_.erase(0, out.size());
    return out;
  }

  bool read_some(std::chrono::milliseconds timeout) {
    pollfd poller{fd_, POLLIN, 0};
    if (::poll(&poller, 1, static_cast<int>(timeout.count())) <= 0) return false;
    std::string piece(16384, '\0');
    const ssize_t n = ::recv(fd_, piece.data(), piece.size(), 0);
    if (n <= 0) return false;
    received_.append(piece, 0, static_cast<size_t>(n));
    return true;
  }

  void finish_sending() { ::shutdown(fd_, SHUT_WR); }

  void reset_on_close() {
    const linger now{1, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  }

  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }

 private:
  int fd_;
  bool connected_ = false;
  std::string received_;
};

}  // namespace graft::net
