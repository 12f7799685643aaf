#include "net/worker_pool.h"

#include <algorithm>
#include <exception>
#include <utility>

#include "spdlog/spdlog.h"

namespace graft::net {
namespace {

void run_guarded(const std::function<void()>& task) {
  try {
    task();
  } catch (const std::exception& e) {
    spdlog::error("worker task failed: {}", e.what());
  } catch (...) {
    spdlog::error("worker task failed with an unknown exception");
  }
}

}  // namespace

WorkerPool::WorkerPool(int threads) {
  for (int i = 0; i < std::max(1, threads); ++i) {
    threads_.emplace_back([state = state_] { run(*state); });
  }
}

WorkerPool::~WorkerPool() { stop(); }

bool WorkerPool::post(std::function<void()> task) {
  {
    const std::lock_guard lock(state_->mutex);
    if (state_->stopping) return false;
    state_->tasks.push_back(std::move(task));
  }
  state_->wake.notify_one();
  return true;
}

void WorkerPool::stop() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->stopping = true;
  }
  state_->wake.notify_all();
  const std::lock_guard lock(join_mutex_);
  for (auto& thread : threads_) {
    if (thread.get_id() == std::this_thread::get_id()) {
      thread.detach();  // a task drops the pool: its thread ends by itself
    } else if (thread.joinable()) {
      thread.join();
    }
  }
  threads_.clear();
}

void WorkerPool::run(State& state) {
  while (true) {
    std::function<void()> task;
    {
      std::unique_lock lock(state.mutex);
      state.wake.wait(lock, [&] { return state.stopping || !state.tasks.empty(); });
      if (state.tasks.empty()) return;
      task = std::move(state.tasks.front());
      state.tasks.pop_front();
    }
    run_guarded(task);
  }
}

std::shared_ptr<SerialQueue> SerialQueue::create(std::shared_ptr<WorkerPool> pool) {
  return std::shared_ptr<SerialQueue>(new SerialQueue(std::move(pool)));
}

void SerialQueue::post(std::function<void()> task) {
  {
    const std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
    if (active_) return;
    active_ = true;
  }
  if (!pool_->post([self = shared_from_this()] { self->run(); })) {
    const std::lock_guard lock(mutex_);
    tasks_.clear();
    active_ = false;
  }
}

void SerialQueue::run() {
  while (true) {
    std::function<void()> task;
    {
      const std::lock_guard lock(mutex_);
      if (tasks_.empty()) {
        active_ = false;
        return;
      }
      task = std::move(tasks_.front());
      tasks_.pop_front();
    }
    run_guarded(task);
  }
}

}  // namespace graft::net
