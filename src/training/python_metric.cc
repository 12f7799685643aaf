#include "training/python_metric.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

#include "base/files.h"
#include "base/json.h"
#include "base/strings.h"

namespace graft::training {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kMaxLine = 1 << 20;

constexpr const char* kDriver = R"PY(
import json, math, os, runpy, sys
replies = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
def reply(**what):
    replies.write(json.dumps(what) + "\n")
    replies.flush()
def problem(error):
    return (type(error).__name__ + ": " + str(error)).splitlines()[0][:500]
try:
    sys.path.insert(0, os.path.dirname(os.path.abspath(sys.argv[1])))
    metric = runpy.run_path(sys.argv[1]).get("metric")
    if not callable(metric):
        raise TypeError("it has no function metric(prompt, completion, reference)")
    reply(ready=True)
except BaseException as error:
    reply(error=problem(error))
    sys.exit(1)
for line in sys.stdin:
    try:
        value = float(metric(**json.loads(line)))
        if not math.isfinite(value):
            raise ValueError("the score is " + str(value))
        reply(score=value)
    except BaseException as error:
        reply(error=problem(error))
)PY";

bool in_path(const char* program) {
  const char* path = std::getenv("PATH");
  if (path == nullptr) return false;
  std::string_view rest = path;
  while (!rest.empty()) {
    const size_t end = std::min(rest.find(':'), rest.size());
    const std::string candidate = std::string(rest.substr(0, end)) + "/" + program;
    if (access(candidate.c_str(), X_OK) == 0) return true;
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return false;
}

std::vector<std::string> command(const std::string& file, const std::string& python, bool sandboxed) {
  std::vector<std::string> words;
  if (sandboxed) {
    words = {"bwrap",
             "--ro-bind",
             "/",
             "/",
             "--dev",
             "/dev",
             "--proc",
             "/proc",
             "--unshare-all",
             "--die-with-parent",
             "--new-session",
             "--cap-drop",
             "ALL"};
  }
  words.insert(words.end(), {python, "-u", "-c", kDriver, file});
  return words;
}

// In the child, where nothing may be allocated: other threads of the parent may have held a lock.
[[noreturn]] void become(char* const* arguments, int socket) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const rlimit none{0, 0};
  setrlimit(RLIMIT_CORE, &none);
  std::signal(SIGINT, SIG_IGN);  // Ctrl-C is graft's to handle
  dup2(socket, STDIN_FILENO);
  dup2(socket, STDOUT_FILENO);
  execvp(arguments[0], arguments);
  _exit(127);
}

// Waits until the socket is ready for `events`. False: the time is up.
bool wait_for(int socket, short events, Clock::time_point deadline) {
  while (true) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left <= 0) return false;
    pollfd entry{socket, events, 0};
    const int ready = poll(&entry, 1, static_cast<int>(std::min<int64_t>(left + 1, 60'000)));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return false;
  }
}

}  // namespace

Result<PythonMetric> PythonMetric::start(const std::string& file, PythonMetricOptions options) {
  std::error_code error;
  if (!fs::is_regular_file(file, error)) return not_found(file + ": no such file; a metric is a Python file");
  PythonMetric metric(fs::absolute(file, error).string(), std::move(options));
  if (in_path("bwrap")) {
    // Where user namespaces are forbidden, it is there but does not work.
    if (metric.launch(true).ok()) return metric;
    metric.stop();
  }
  GRAFT_CHECK_OK(metric.launch(false));
  return metric;
}

PythonMetric::PythonMetric(PythonMetric&& other) noexcept
    : file_(std::move(other.file_)),
      options_(std::move(other.options_)),
      pid_(std::exchange(other.pid_, -1)),
      socket_(std::exchange(other.socket_, -1)),
      received_(std::move(other.received_)) {}

PythonMetric& PythonMetric::operator=(PythonMetric&& other) noexcept {
  if (this == &other) return *this;
  stop();
  file_ = std::move(other.file_);
  options_ = std::move(other.options_);
  pid_ = std::exchange(other.pid_, -1);
  socket_ = std::exchange(other.socket_, -1);
  received_ = std::move(other.received_);
  return *this;
}

PythonMetric::~PythonMetric() { stop(); }

void PythonMetric::stop() {
  if (socket_ >= 0) close(socket_);
  socket_ = -1;
  if (pid_ < 0) return;
  kill(pid_, SIGKILL);
  while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
}

Error PythonMetric::ended() const {
  return invalid(fmt::format("{}: its process ended; see its messages above{}", file_,
                             in_path(options_.python.c_str()) || options_.python.find('/') != std::string::npos
                                 ? ""
                                 : " (is " + options_.python + " installed?)"));
}

Status PythonMetric::launch(bool sandboxed) {
  std::array<int, 2> ends{};
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    return internal_error(fmt::format("no socket for a metric: {}", std::strerror(errno)));
  }
  std::vector<std::string> words = command(file_, options_.python, sandboxed);
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  pid_ = fork();
  if (pid_ == 0) become(arguments.data(), ends[1]);
  close(ends[1]);
  socket_ = ends[0];
  if (pid_ < 0) return internal_error(fmt::format("no process for a metric: {}", std::strerror(errno)));
  received_.clear();
  GRAFT_TRY(const std::string line, receive_line(Clock::now() + options_.start_limit));
  const auto hello = parse_json(line);
  if (!hello.ok() || !hello->is_object()) return ended();
  if (hello->contains("error")) return invalid(file_ + ": " + hello->value("error", std::string()));
  return {};
}

Result<double> PythonMetric::score(std::string_view prompt, std::string_view completion, std::string_view reference) {
  const nlohmann::ordered_json request = {{"prompt", prompt}, {"completion", completion}, {"reference", reference}};
  const auto deadline = Clock::now() + options_.row_limit;
  GRAFT_CHECK_OK(
      send_line(request.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n", deadline));
  GRAFT_TRY(const std::string line, receive_line(deadline));
  const auto reply = parse_json(line);
  if (!reply.ok() || !reply->is_object()) return ended();
  if (reply->contains("error")) {
    return invalid(file_ + ": " +
                   printable((*reply)["error"].is_string() ? reply->value("error", std::string()) : "?"));
  }
  const auto found = reply->find("score");
  if (found == reply->end() || !found->is_number()) return ended();
  return found->get<double>();
}

Status PythonMetric::send_line(const std::string& line, Clock::time_point deadline) {
  size_t sent = 0;
  while (sent < line.size()) {
    if (socket_ < 0) return ended();
    const ssize_t n = send(socket_, line.data() + sent, line.size() - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0) {
      sent += static_cast<size_t>(n);
    } else if (errno == EAGAIN) {
      if (wait_for(socket_, POLLOUT, deadline)) continue;
      stop();
      return invalid(fmt::format("{}: does not take a row within {} ms", file_, options_.row_limit.count()));
    } else if (errno != EINTR) {
      return ended();
    }
  }
  return {};
}

Result<std::string> PythonMetric::receive_line(Clock::time_point deadline) {
  std::array<char, 4096> chunk{};
  while (true) {
    if (const size_t end = received_.find('\n'); end != std::string::npos) {
      std::string line = received_.substr(0, end);
      received_.erase(0, end + 1);
      return line;
    }
    if (socket_ < 0 || received_.size() > kMaxLine) return ended();
    if (!wait_for(socket_, POLLIN, deadline)) {
      stop();
      return invalid(file_ + ": took too long");
    }
    const ssize_t n = recv(socket_, chunk.data(), chunk.size(), 0);
    if (n > 0) {
      received_.append(chunk.data(), static_cast<size_t>(n));
    } else if (n == 0 || errno != EINTR) {
      return ended();
    }
  }
}

}  // namespace graft::training
