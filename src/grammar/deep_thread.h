#pragma once

#include <functional>
#include <memory>

namespace graft::grammar {

// A thread with room for deep recursion: XGrammar descends along a grammar's rules, and a grammar may have thousands in
// a row. The memory is only reserved.
class DeepThread {
 public:
  explicit DeepThread(std::function<void()> body);  // must not throw
  ~DeepThread();                                    // joins
  DeepThread(const DeepThread&) = delete;
  DeepThread& operator=(const DeepThread&) = delete;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace graft::grammar
