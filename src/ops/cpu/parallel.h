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

// Runs task(0) .. task(count - 1), each once, on a pool of threads that the process shares, the caller among them.
// Which thread runs what is not fixed, so a task's result must depend on its index alone. Tasks must not throw. Called
// from inside a task, or while another thread's tasks run, it runs them all on the calling thread.
void parallel_for(int64_t count, TaskRef task);

int parallel_threads();
// For the whole process, before the first parallel_for; 0: as many as the machine has cores.
void set_parallel_threads(int threads);

// At least `bytes` of 64-byte aligned memory, private to the calling thread and reused by its next call with the
// same slot. Contents are undefined.
void* thread_scratch(int slot, int64_t bytes);

}  // namespace graft::ops::cpu
