#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "base/result.h"

namespace graft::training {

struct PythonMetricOptions {
  std::chrono::milliseconds start_limit{30'000};  // for reading the file, imports included
  std::chrono::milliseconds row_limit{10'000};    // for one call
  std::string python = "python3";
};

// A user's score: a Python file that has a function
//   metric(prompt: str, completion: str, reference: str) -> float
// It runs in a process of its own, which gets a JSON object a line and answers with one; where bubblewrap is installed
// and works here, without network and with a file system that it can only read. What the file prints goes to standard
// error. An exception, a result that is no finite number, or a call over the limit is an error that says so.
class PythonMetric {
 public:
  static Result<PythonMetric> start(const std::string& file, PythonMetricOptions options = {});
  PythonMetric(PythonMetric&& other) noexcept;
  PythonMetric& operator=(PythonMetric&& other) noexcept;
  ~PythonMetric();  // ends the process

  Result<double> score(std::string_view prompt, std::string_view completion, std::string_view reference);

 private:
  PythonMetric(std::string file, PythonMetricOptions options) : file_(std::move(file)), options_(std::move(options)) {}
  Status launch(bool sandboxed);
  void stop();
  Status send_line(const std::string& line, std::chrono::steady_clock::time_point deadline);
  Result<std::string> receive_line(std::chrono::steady_clock::time_point deadline);
  [[nodiscard]] Error ended() const;

  std::string file_;
  PythonMetricOptions options_;
  int pid_ = -1;
  int socket_ = -1;
  std::string received_;  // bytes behind the last whole line
};

}  // namespace graft::training
