#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace graft::net {

// Threads that run handlers: JSON, tokenising, templates; never the I/O and never the model. Tasks start in the order
// they were posted. A task must not throw (what escapes is dropped) and should not block for long.
class WorkerPool {
 public:
  explicit WorkerPool(int threads);
  ~WorkerPool();  // stop()
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  bool post(std::function<void()> task);  // false once stopped: the task is dropped
  void stop();                            // runs what was posted, then joins; safe to call twice

 private:
  // Shared with the threads: the pool's last owner may be one of its own tasks.
  struct State {
    std::mutex mutex;
    std::condition_variable wake;
    std::deque<std::function<void()>> tasks;
    bool stopping = false;
  };
  static void run(State& state);

  std::shared_ptr<State> state_ = std::make_shared<State>();
  std::mutex join_mutex_;
  std::vector<std::thread> threads_;
};

// Runs its tasks on the pool in order and never two at once: one request's events stay in sequence without a lock
// held while they are formatted. Keeps itself alive while tasks wait.
class SerialQueue : public std::enable_shared_from_this<SerialQueue> {
 public:
  static std::shared_ptr<SerialQueue> create(std::shared_ptr<WorkerPool> pool);
  void post(std::function<void()> task);  // returns at once

 private:
  explicit SerialQueue(std::shared_ptr<WorkerPool> pool) : pool_(std::move(pool)) {}
  void run();

  std::shared_ptr<WorkerPool> pool_;
  std::mutex mutex_;
  std::deque<std::function<void()>> tasks_;
  bool active_ = false;
};

}  // namespace graft::net
