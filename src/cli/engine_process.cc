#include "cli/engine_process.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/file_errors.h"
#include "base/files.h"
#include "base/strings.h"

namespace graft::cli {
namespace {

// The child's side of the probe: stderr into the pipe, the rest to nowhere.
[[noreturn]] void become_probe(const fs::path& engine, int errors) {
  const int nowhere = open("/dev/null", O_RDWR | O_CLOEXEC);
  dup2(nowhere, STDIN_FILENO);
  dup2(nowhere, STDOUT_FILENO);
  dup2(errors, STDERR_FILENO);
  execl(engine.c_str(), engine.c_str(), "--help", nullptr);
  _exit(127);
}

std::string read_all(int descriptor) {
  std::string text;
  std::array<char, 4096> chunk{};
  while (true) {
    const ssize_t got = read(descriptor, chunk.data(), chunk.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return text;
    text.append(chunk.data(), static_cast<size_t>(got));
  }
}

}  // namespace

Result<fs::path> engine_path() {
  std::error_code error;
  const fs::path self = fs::read_symlink("/proc/self/exe", error);
  if (error) return system_error("cannot read", "/proc/self/exe", error.value());
  fs::path engine = self.parent_path() / "graft-engine";
  if (access(engine.c_str(), X_OK) != 0) {
    return not_found(engine.string() + ": not there; build it with: make build");
  }
  return engine;
}

Status exec_engine(const std::vector<std::string>& arguments) {
  GRAFT_TRY(const fs::path engine, engine_path());
  std::vector<std::string> words = {engine.string()};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  execv(engine.c_str(), pointers.data());
  return system_error("cannot run", engine, errno);
}

Status probe_engine(const fs::path& engine) {
  std::array<int, 2> errors{};
  if (pipe2(errors.data(), O_CLOEXEC) != 0) return system_error("cannot run", engine, errno);
  const pid_t child = fork();
  if (child == 0) become_probe(engine, errors[1]);
  close(errors[1]);
  if (child < 0) {
    close(errors[0]);
    return system_error("cannot run", engine, errno);
  }
  const std::string complaint = read_all(errors[0]);
  close(errors[0]);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  return invalid(engine.string() + ": does not start (" + printable(complaint, 300) +
                 "); build again with: make build");
}

}  // namespace graft::cli
