#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace graft::net {

// Takes a text/event-stream apart as its bytes come (WHATWG HTML, 9.2.6): lines end in \n, \r or \r\n, an empty line
// dispatches the event, several data lines are joined by \n, comments and other fields are passed over. An event that
// the end of the stream cuts off is never dispatched.
class SseParser {
 public:
  using OnEvent = std::function<void(std::string_view data)>;

  explicit SseParser(OnEvent on_event, size_t max_event_bytes = size_t{16} << 20)
      : on_event_(std::move(on_event)), max_event_bytes_(max_event_bytes) {}

  // false: an event is longer than the limit, and the rest of the stream cannot be read.
  bool push(std::string_view bytes);

 private:
  void end_line();

  OnEvent on_event_;
  size_t max_event_bytes_;
  std::string line_;
  std::string data_;
  bool has_data_ = false;
  bool after_return_ = false;  // a \n right after a \r belongs to it
  bool first_line_ = true;     // may begin with a byte order mark
};

}  // namespace graft::net
