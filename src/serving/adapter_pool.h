#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
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
  int64_t bytes = 0;                      // an estimate until it is loaded
  bool superseded = false;                // its files have changed since
  int32_t users = 0;                      // sequences that were handed the weights and not released
  std::map<uint64_t, Sequence*> waiters;  // by arrival
  uint64_t last_use = 0;                  // logical time
  std::chrono::steady_clock::time_point load_began, ready_since;
};

// Which adapters are in memory. The first sequence that wants one causes its load; a failed load fails those that
// wait for it, and the next sequence tries again. When there is no room the least recently used one that nobody uses is
// dropped; if all are in use, the one that has been ready for longest (at least a cycle) drains: sequences that came
// after the oldest blocked one wait until it has had its turn. Adapters that are ready are never held up by loads.
// Holds no threads: it says what to load and is told the outcome. Belongs to the model thread. Every operation takes
// logarithmic time in the adapters and sequences that it knows, and constant time where there is nothing to do.
class AdapterPool {
 public:
  // serials: a counter of which every value is given out once in the process, 0 never.
  AdapterPool(AdapterLimits limits, std::atomic<uint64_t>& serials) : limits_(limits), serials_(serials) {}

  using Clock = std::chrono::steady_clock;

  void want(Sequence& sequence, const AdapterRef& ref, const AdapterFiles& files);
  void release(Sequence& sequence);  // it has finished, failed or was cancelled; waiting for a load or not
  void finish_load(uint64_t serial, Result<std::shared_ptr<const runtime::AdapterWeights>> outcome,
                   Clock::time_point now = Clock::now());

  // What the engine has to do now. Each event is reported once.
  struct Events {
    std::vector<Sequence*> ready;  // weights, scope and adapter are set
    std::vector<std::pair<Sequence*, Error>> failed;
    std::vector<const AdapterEntry*> load;                                 // call finish_load(entry.serial, ...)
    std::vector<std::shared_ptr<const runtime::AdapterWeights>> unloaded;  // to be destroyed where it stalls nobody
    AdapterEntry* drain = nullptr;                                         // take back what has not started ...
    uint64_t drain_after = 0;                                              // ... and arrived later than this
  };
  Events advance(Clock::time_point now);
  void take_back(Sequence& sequence);  // of a draining adapter: waits for it again

  [[nodiscard]] bool settled() const { return !changed_; }  // advance() has nothing to do before the next event or step
  [[nodiscard]] int32_t loaded() const { return loaded_; }
  [[nodiscard]] int32_t waiting() const { return waiting_; }       // sequences
  [[nodiscard]] int64_t bytes() const { return active_bytes_; }    // of what is loaded and what is being loaded
  [[nodiscard]] uint64_t loads() const { return loads_; }          // that succeeded, ever
  [[nodiscard]] uint64_t evictions() const { return evictions_; }  // for room or for a new version
  // Every adapter in memory, least recently used first; changes() tells whether it is worth asking.
  [[nodiscard]] std::vector<const AdapterEntry*> residents() const;
  [[nodiscard]] uint64_t changes() const { return changes_; }

 private:
  using Versions = std::vector<std::unique_ptr<AdapterEntry>>;  // of one adapter: one, hardly ever two
  // Entries in the order of one of their fields.
  template <class Key>
  using Order = std::set<std::pair<Key, AdapterEntry*>>;

  AdapterEntry& find_or_add(const AdapterRef& ref, const AdapterFiles& files);
  // Changes fields by which entries are found and ordered; every such change goes through here.
  template <class Change>
  void update(AdapterEntry& entry, Change change);
  void index(AdapterEntry& entry, bool present);
  [[nodiscard]] bool fits(const AdapterEntry& entry) const;
  bool unload_unused();  // one; false: there is none
  void load_queued(Clock::time_point now);
  void drop(AdapterEntry& entry);
  void forget(AdapterEntry& entry);
  [[nodiscard]] Error too_large(const AdapterEntry& entry) const;
  void unload_drained();
  void resume_drained();
  void choose_drain(Clock::time_point now, uint64_t after);
  void hand_out(AdapterEntry& entry);
  void use(AdapterEntry& entry, Sequence& sequence);
  void wait(AdapterEntry& entry, Sequence& sequence);
  void trim();

  AdapterLimits limits_;
  std::atomic<uint64_t>& serials_;
  std::unordered_map<std::string, Versions> entries_;    // by identity
  std::unordered_map<uint64_t, AdapterEntry*> loading_;  // by serial
  Order<uint64_t> queued_;                               // with waiters, by the arrival of the first one
  Order<uint64_t> abandoned_;                            // queued without waiters
  Order<uint64_t> unused_;                               // ready and without users, by last use
  Order<uint64_t> outdated_;                             // likewise, but superseded
  Order<Clock::time_point> ready_;                       // by how long they have been so
  std::set<AdapterEntry*> draining_;
  int32_t active_ = 0;  // loading, ready and draining
  int32_t loaded_ = 0;  // ready and draining
  int32_t waiting_ = 0;
  int64_t active_bytes_ = 0;
  uint64_t loads_ = 0;
  uint64_t evictions_ = 0;
  uint64_t changes_ = 0;  // of the set of those in memory
  Events events_;
  uint64_t clock_ = 0;
  bool changed_ = false;  // since the last advance(): most steps have nothing to do here
  bool blocked_ = false;  // an adapter waits for room, and time alone may make some
};

}  // namespace graft::serving
