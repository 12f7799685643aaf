#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "base/result.h"
#include "serving/adapter_files.h"
#include "serving/engine.h"
#include "serving/sequence.h"

namespace graft::serving {

struct AdapterLimits {
  int32_t max_active = 1;    // loading and loaded
  int64_t memory_bytes = 0;  // 0: no bound
  std::chrono::nanoseconds cycle{};
};

enum class AdapterState {
  kQueued,    // no room yet
  kLoading,   // downloading and reading
  kReady,     // sequences may use it
  kDraining,  // makes room for others as soon as those that use it have finished
};

// One version of one adapter: its whole identity, and who waits for it.
struct AdapterEntry {
  AdapterRef ref;
  AdapterFiles files;
  uint64_t serial = 0;  // new with every load
  AdapterState state = AdapterState::kQueued;
  std::shared_ptr<const runtime::AdapterWeights> weights;
  int64_t bytes = 0;               // an estimate until it is loaded
  bool superseded = false;         // its files have changed since
  int32_t users = 0;               // sequences that were handed the weights and not released
  std::vector<Sequence*> waiters;  // by arrival
  uint64_t last_use = 0;           // logical time
  std::chrono::steady_clock::time_point ready_since;
};

// Which adapters are in memory. The first sequence that wants one causes its load; a failed load fails those that
// wait for it, and the next sequence tries again. When there is no room the least recently used one that nobody uses is
// dropped; if all are in use, the one that has been ready for longest (at least a cycle) drains: sequences that came
// after the oldest blocked one wait until it has had its turn. Adapters that are ready are never held up by loads.
// Holds no threads: it says what to load and is told the outcome. Belongs to the model thread.
class AdapterPool {
 public:
  // serials: a counter of which every value is given out once in the process, 0 never.
  AdapterPool(AdapterLimits limits, std::atomic<uint64_t>& serials) : limits_(limits), serials_(serials) {}

  void want(Sequence& sequence, const AdapterRef& ref, const AdapterFiles& files);
  void release(Sequence& sequence);  // it has finished, failed or was cancelled; waiting for a load or not
  void finish_load(uint64_t serial, Result<std::shared_ptr<const runtime::AdapterWeights>> outcome);

  // What the engine has to do now. Each event is reported once.
  struct Events {
    std::vector<Sequence*> ready;  // weights, scope and adapter are set
    std::vector<std::pair<Sequence*, Error>> failed;
    std::vector<const AdapterEntry*> load;                                 // call finish_load(entry.serial, ...)
    std::vector<std::shared_ptr<const runtime::AdapterWeights>> unloaded;  // to be destroyed where it stalls nobody
    AdapterEntry* drain = nullptr;                                         // take back what has not started ...
    uint64_t drain_after = 0;                                              // ... and arrived later than this
  };
  Events advance(std::chrono::steady_clock::time_point now);
  void take_back(Sequence& sequence);  // of a draining adapter: waits for it again

  [[nodiscard]] bool settled() const { return !changed_; }  // advance() has nothing to do before the next event or step
  [[nodiscard]] int32_t loaded() const;
  [[nodiscard]] int32_t waiting() const;  // sequences

 private:
  AdapterEntry& find_or_add(const AdapterRef& ref, const AdapterFiles& files);
  AdapterEntry* oldest_queued();
  bool fits(const AdapterEntry& entry) const;
  bool unload_unused();  // one; false: there is none
  void load_queued(std::chrono::steady_clock::time_point now);
  void drop(AdapterEntry& entry);
  Error too_large(const AdapterEntry& entry) const;
  void unload_drained();
  void resume_drained();
  void choose_drain(std::chrono::steady_clock::time_point now, uint64_t after);
  void hand_out(AdapterEntry& entry);
  void use(AdapterEntry& entry, Sequence& sequence);
  void wait(AdapterEntry& entry, Sequence& sequence);
  void trim();

  AdapterLimits limits_;
  std::atomic<uint64_t>& serials_;
  std::vector<std::unique_ptr<AdapterEntry>> entries_;
  Events events_;
  uint64_t clock_ = 0;
  bool changed_ = false;  // since the last advance(): most steps have nothing to do here
  bool blocked_ = false;  // an adapter waits for room, and time alone may make some
};

}  // namespace graft::serving
