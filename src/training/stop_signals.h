#pragma once

#include <atomic>

namespace graft::training {

// While it lives, SIGINT (Ctrl-C) and SIGTERM only set a flag, so that work can end in an orderly way. A second signal
// ends the process at once, as if nobody had asked to be told. One at a time in a process.
class StopSignals {
 public:
  StopSignals();
  ~StopSignals();  // the default actions are back
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  [[nodiscard]] const std::atomic<bool>& requested() const;
};

}  // namespace graft::training
