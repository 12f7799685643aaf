#pragma once

#include <cstdint>

namespace graft::ops::cpu {

// A reference to a callable, without ownership or allocation.
class TaskRef {
 public:
  template <class F>
  TaskRef(const F& task)  // NOLINT(google-explicit-constructor)
      : object_(&task), call_([](const void* object, int64_t index) { (*static_cast<const F*>(object))(index); }) {}
  void operator()(int64_t index) const { call_(object_, index); }

 private:
  const void* object_;
  void (*call_)(const void*, int64_t);
};

// Runs task(0) .. task(count - 1), each once, on the OpenMP team that torch uses as well (a second pool would fight
// it for the cores). Which thread runs what is not fixed, so a task's result must depend on its index alone.
void parallel_for(int64_t count, TaskRef task);

int parallel_threads();
// For all later calls from any thread of the process; 0: as many as OpenMP would take. OpenMP's own setting holds for
// the calling thread only, and the thread that runs a model is rarely the one that reads the command line.
void set_parallel_threads(int threads);

// At least `bytes` of 64-byte aligned memory, private to the calling thread and reused by its next call with the
// same slot. Contents are undefined.
void* thread_scratch(int slot, int64_t bytes);

}  // namespace graft::ops::cpu
