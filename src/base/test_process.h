#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <stdexcept>
#include <string>
#include <vector>

namespace graft {

// For tests: a server in Python that prints one line when it is ready, and ends when its standard input does, so that
// it outlives no test, however that ends.
class PythonServer {
 public:
  explicit PythonServer(const std::vector<std::string>& arguments) {
    int input[2];
    int output[2];
    if (pipe2(input, O_CLOEXEC) != 0 || pipe2(output, O_CLOEXEC) != 0) throw std::runtime_error("no pipe");
    pid_ = fork();
    if (pid_ == 0) {
      dup2(input[0], STDIN_FILENO);
      dup2(output[1], STDOUT_FILENO);
      std::string python = GRAFT_PYTHON;
      std::vector<std::string> words = arguments;
      std::vector<char*> argv = {python.data()};
      for (std::string& word : words) argv.push_back(word.data());
      argv.push_back(nullptr);
      execv(python.c_str(), argv.data());
      _exit(127);
    }
    close(input[0]);
    close(output[1]);
    input_ = input[1];
    output_ = output[0];
    for (char c = 0; read(output_, &c, 1) == 1 && c != '\n';) line_ += c;
  }
  ~PythonServer() {
    close(input_);
    kill(pid_, SIGTERM);
    waitpid(pid_, nullptr, 0);
    close(output_);
  }
  PythonServer(const PythonServer&) = delete;
  PythonServer& operator=(const PythonServer&) = delete;

  [[nodiscard]] const std::string& line() const { return line_; }

 private:
  pid_t pid_ = -1;
  int input_ = -1;
  int output_ = -1;
  std::string line_;
};

}  // namespace graft
