#include "ops/cpu/parallel.h"

#include <omp.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <new>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace graft::ops::cpu {

namespace {

void pause_briefly() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

thread_local bool inside_task = false;

// Threads that claim tasks one by one. The caller takes part, and waits only for tasks that somebody has claimed: a
// worker that the machine does not let run just takes none. (An OpenMP team would have to wait for it at the end of
// every region, which on a busy machine costs a scheduler's time slice each.)
class Pool {
 public:
  explicit Pool(int workers) {
    for (int i = 0; i < workers; ++i) threads_.emplace_back([this] { work(); });
  }
  ~Pool() {
    stopping_ = true;
    ticket_.fetch_add(uint64_t{1} << 32);
    ticket_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  [[nodiscard]] int workers() const { return static_cast<int>(threads_.size()); }

  // False where another thread's tasks are running.
  bool run(int64_t count, const TaskRef& task) {
    const std::unique_lock lock(busy_, std::try_to_lock);
    if (!lock.owns_lock()) return false;
    // Closed while the job changes: a late worker must not claim the old job's number with the new job's count.
    const uint64_t job = (ticket_.load(std::memory_order_relaxed) >> 32) + 1;
    ticket_.store(job << 32 | kClosed);
    task_ = &task;
    count_ = static_cast<uint32_t>(count);
    done_ = 0;
    ticket_.store(job << 32);
    ticket_.notify_all();
    inside_task = true;
    while (claim_one()) {
    }
    inside_task = false;
    while (done_.load(std::memory_order_acquire) != static_cast<uint32_t>(count)) pause_briefly();
    return true;
  }

 private:
  // The ticket holds the number of the job and its next task. A claim succeeds only on the ticket that was read, so
  // nobody can claim from a job that is over; and a job is not over before its claimed tasks are done.
  bool claim_one() {
    uint64_t ticket = ticket_.load(std::memory_order_acquire);
    while (static_cast<uint32_t>(ticket) < count_.load()) {
      if (!ticket_.compare_exchange_weak(ticket, ticket + 1)) continue;
      (*task_.load())(static_cast<uint32_t>(ticket));
      done_.fetch_add(1, std::memory_order_release);
      return true;
    }
    return false;
  }

  void work() {
    inside_task = true;
    while (!stopping_) {
      if (claim_one()) continue;
      const uint64_t seen = ticket_.load(std::memory_order_acquire);
      for (int i = 0; i < kSpins && ticket_.load(std::memory_order_relaxed) == seen; ++i) pause_briefly();
      if (ticket_.load(std::memory_order_acquire) == seen && !stopping_) ticket_.wait(seen);
    }
  }

  static constexpr uint64_t kClosed = 0xffffffff;  // no task has this number
  static constexpr int kSpins = 4000;              // about as long as a step's pieces between two parallel regions take

  std::mutex busy_;
  std::atomic<uint64_t> ticket_ = 0;
  std::atomic<const TaskRef*> task_ = nullptr;
  std::atomic<uint32_t> count_ = 0;
  std::atomic<uint32_t> done_ = 0;
  std::atomic<bool> stopping_ = false;
  std::vector<std::thread> threads_;
};

std::atomic<int> chosen_threads = 0;

Pool& pool() {
  static Pool instance(parallel_threads() - 1);
  return instance;
}

// torch's own operators run on the calling thread from now on: its OpenMP team would fight the pool for the cores.
void keep_torch_serial() {
  thread_local bool done = false;
  if (!done) omp_set_num_threads(1);
  done = true;
}

}  // namespace

void set_parallel_threads(int threads) { chosen_threads = threads; }

int parallel_threads() {
  const int chosen = chosen_threads.load(std::memory_order_relaxed);
  if (chosen > 0) return chosen;
  const auto cores = static_cast<int>(std::thread::hardware_concurrency());
  return cores > 0 ? cores : 1;
}

void parallel_for(int64_t count, TaskRef task) {
  if (count <= 0) return;
  keep_torch_serial();
  if (count > 1 && count < INT32_MAX && !inside_task && parallel_threads() > 1 && pool().run(count, task)) return;
  for (int64_t i = 0; i < count; ++i) task(i);
}

namespace {

struct Free {
  void operator()(void* memory) const { std::free(memory); }
};
struct Slot {
  std::unique_ptr<void, Free> memory;
  int64_t bytes = 0;
};

}  // namespace

void* thread_scratch(int slot, int64_t bytes) {
  thread_local std::array<Slot, 8> slots;
  Slot& entry = slots.at(static_cast<size_t>(slot));
  if (entry.bytes < bytes) {
    const int64_t rounded = (bytes + 4095) / 4096 * 4096;
    entry.memory.reset(std::aligned_alloc(64, static_cast<size_t>(rounded)));
    if (!entry.memory) throw std::bad_alloc();
    entry.bytes = rounded;
  }
  return entry.memory.get();
}

}  // namespace graft::ops::cpu
