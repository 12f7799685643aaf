#include "ops/cpu/parallel.h"

#include <omp.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <memory>
#include <new>

namespace graft::ops::cpu {

namespace {
std::atomic<int> chosen_threads = 0;
}  // namespace

void set_parallel_threads(int threads) { chosen_threads = threads; }

int parallel_threads() {
  const int chosen = chosen_threads.load(std::memory_order_relaxed);
  return chosen > 0 ? chosen : omp_get_max_threads();
}

void parallel_for(int64_t count, TaskRef task) {
  if (count <= 0) return;
  const int threads = parallel_threads();
  if (count == 1 || threads == 1 || omp_in_parallel() != 0) {
    for (int64_t i = 0; i < count; ++i) task(i);
    return;
  }
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
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
