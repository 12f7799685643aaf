#include "ops/cpu/parallel.h"

#include <omp.h>

#include <array>
#include <cstdlib>
#include <memory>
#include <new>

namespace graft::ops::cpu {

void parallel_for(int64_t count, TaskRef task) {
  if (count <= 0) return;
  if (count == 1 || omp_get_max_threads() == 1 || omp_in_parallel() != 0) {
    for (int64_t i = 0; i < count; ++i) task(i);
    return;
  }
#pragma omp parallel for schedule(dynamic, 1)
  for (int64_t i = 0; i < count; ++i) task(i);
}

int parallel_threads() { return omp_get_max_threads(); }

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
