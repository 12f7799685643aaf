#include "serving/adapter_pool.h"

#include <algorithm>
#include <string>

namespace graft::serving {
namespace {

bool in_memory(const AdapterEntry& entry) {
  return entry.state == AdapterState::kReady || entry.state == AdapterState::kDraining;
}

bool active(const AdapterEntry& entry) { return entry.state != AdapterState::kQueued; }

}  // namespace

void AdapterPool::want(Sequence& sequence, const AdapterRef& ref, const AdapterFiles& files) {
  changed_ = true;
  AdapterEntry& entry = find_or_add(ref, files);
  if (entry.state == AdapterState::kReady) {
    use(entry, sequence);
    events_.ready.push_back(&sequence);
  } else {
    wait(entry, sequence);
  }
}

AdapterEntry& AdapterPool::find_or_add(const AdapterRef& ref, const AdapterFiles& files) {
  AdapterEntry* found = nullptr;
  for (const auto& entry : entries_) {
    if (entry->ref != ref) continue;
    if (entry->files == files) {
      found = entry.get();
    } else {
      entry->superseded = true;
    }
  }
  if (found != nullptr) {
    found->superseded = false;
    return *found;
  }
  auto entry = std::make_unique<AdapterEntry>();
  entry->ref = ref;
  entry->files = files;
  entry->bytes = files.weights.size;
  return *entries_.emplace_back(std::move(entry));
}

void AdapterPool::release(Sequence& sequence) {
  std::erase_if(events_.failed, [&](const auto& failure) { return failure.first == &sequence; });
  std::erase(events_.ready, &sequence);
  AdapterEntry* entry = sequence.adapter;
  if (entry == nullptr) return;
  changed_ = true;
  if (std::erase(entry->waiters, &sequence) == 0) --entry->users;
  sequence.adapter = nullptr;
  sequence.weights = nullptr;
  entry->last_use = ++clock_;
}

void AdapterPool::finish_load(uint64_t serial, Result<std::shared_ptr<const runtime::AdapterWeights>> outcome) {
  const auto place = std::ranges::find(entries_, serial, [](const auto& entry) { return entry->serial; });
  if (place == entries_.end()) return;
  changed_ = true;
  AdapterEntry& entry = **place;
  if (outcome.ok()) {
    entry.bytes = (*outcome)->bytes();
    if (limits_.memory_bytes > 0 && entry.bytes > limits_.memory_bytes) outcome = too_large(entry);
  }
  if (!outcome.ok()) {
    for (Sequence* sequence : entry.waiters) {
      sequence->adapter = nullptr;
      events_.failed.emplace_back(sequence, outcome.error());
    }
    entries_.erase(place);
    return;
  }
  entry.weights = std::move(outcome).value();
  entry.state = AdapterState::kReady;
  entry.ready_since = std::chrono::steady_clock::now();
  entry.last_use = ++clock_;
  hand_out(entry);
  trim();
}

AdapterPool::Events AdapterPool::advance(std::chrono::steady_clock::time_point now) {
  if (!changed_ && !blocked_) return {};
  changed_ = false;
  for (const auto& entry : entries_) {
    if (entry->superseded && entry->state == AdapterState::kReady && entry->users == 0) {
      entry->state = AdapterState::kDraining;
    }
  }
  unload_drained();
  std::erase_if(entries_, [](const auto& entry) { return !active(*entry) && entry->waiters.empty(); });
  load_queued(now);
  blocked_ = oldest_queued() != nullptr;
  if (!blocked_) resume_drained();
  return std::exchange(events_, {});
}

void AdapterPool::load_queued(std::chrono::steady_clock::time_point now) {
  while (AdapterEntry* entry = oldest_queued()) {
    entry->serial = ++serials_;
    if (limits_.memory_bytes > 0 && entry->bytes > limits_.memory_bytes) {
      finish_load(entry->serial, too_large(*entry));
      continue;
    }
    while (!fits(*entry) && unload_unused()) {
    }
    if (!fits(*entry)) return choose_drain(now, entry->waiters.front()->arrival);
    entry->state = AdapterState::kLoading;
    events_.load.push_back(entry);
  }
}

Error AdapterPool::too_large(const AdapterEntry& entry) const {
  return invalid("adapter '" + entry.ref.id + "' takes " + std::to_string(entry.bytes) +
                 " bytes, more than the adapter memory of " + std::to_string(limits_.memory_bytes) +
                 " bytes: raise it or use a lower rank");
}

void AdapterPool::take_back(Sequence& sequence) {
  changed_ = true;
  AdapterEntry& entry = *sequence.adapter;
  --entry.users;
  sequence.weights = nullptr;
  wait(entry, sequence);
}

int32_t AdapterPool::loaded() const {
  return static_cast<int32_t>(std::ranges::count_if(entries_, [](const auto& entry) { return in_memory(*entry); }));
}

int32_t AdapterPool::waiting() const {
  size_t total = 0;
  for (const auto& entry : entries_) total += entry->waiters.size();
  return static_cast<int32_t>(total);
}

AdapterEntry* AdapterPool::oldest_queued() {
  AdapterEntry* oldest = nullptr;
  for (const auto& entry : entries_) {
    if (entry->state != AdapterState::kQueued || entry->waiters.empty()) continue;
    if (oldest == nullptr || entry->waiters.front()->arrival < oldest->waiters.front()->arrival) oldest = entry.get();
  }
  return oldest;
}

bool AdapterPool::fits(const AdapterEntry& wanted) const {
  int32_t count = 1;
  int64_t bytes = wanted.bytes;
  for (const auto& entry : entries_) {
    if (!active(*entry)) continue;
    ++count;
    bytes += entry->bytes;
  }
  return count <= limits_.max_active && (limits_.memory_bytes == 0 || bytes <= limits_.memory_bytes);
}

bool AdapterPool::unload_unused() {
  AdapterEntry* oldest = nullptr;
  for (const auto& entry : entries_) {
    if (entry->state != AdapterState::kReady || entry->users > 0) continue;
    if (oldest == nullptr || entry->last_use < oldest->last_use) oldest = entry.get();
  }
  if (oldest == nullptr) return false;
  drop(*oldest);
  return true;
}

// Gives the weights up. Those that wait for it start over in the queue.
void AdapterPool::drop(AdapterEntry& entry) {
  events_.unloaded.push_back(std::move(entry.weights));
  entry.weights = nullptr;
  entry.state = AdapterState::kQueued;
}

void AdapterPool::unload_drained() {
  for (const auto& entry : entries_) {
    if (entry->state == AdapterState::kDraining && entry->users == 0) drop(*entry);
  }
}

void AdapterPool::resume_drained() {
  for (const auto& entry : entries_) {
    if (entry->state != AdapterState::kDraining) continue;
    entry->state = AdapterState::kReady;
    hand_out(*entry);
  }
}

void AdapterPool::choose_drain(std::chrono::steady_clock::time_point now, uint64_t after) {
  AdapterEntry* chosen = nullptr;
  for (const auto& entry : entries_) {
    if (entry->state == AdapterState::kDraining) return;  // one after the other
    if (entry->state != AdapterState::kReady || now - entry->ready_since < limits_.cycle) continue;
    if (chosen == nullptr || entry->ready_since < chosen->ready_since) chosen = entry.get();
  }
  if (chosen == nullptr) return;
  chosen->state = AdapterState::kDraining;
  events_.drain = chosen;
  events_.drain_after = after;
}

void AdapterPool::hand_out(AdapterEntry& entry) {
  for (Sequence* sequence : std::exchange(entry.waiters, {})) {
    use(entry, *sequence);
    events_.ready.push_back(sequence);
  }
}

void AdapterPool::use(AdapterEntry& entry, Sequence& sequence) {
  ++entry.users;
  entry.last_use = ++clock_;
  sequence.adapter = &entry;
  sequence.weights = entry.weights;
  sequence.scope.adapter = entry.serial;
}

void AdapterPool::wait(AdapterEntry& entry, Sequence& sequence) {
  sequence.adapter = &entry;
  const auto place = std::ranges::upper_bound(entry.waiters, sequence.arrival, {},
                                              [](const Sequence* other) { return other->arrival; });
  entry.waiters.insert(place, &sequence);
}

// An adapter can turn out larger than its file.
void AdapterPool::trim() {
  const auto total = [this] {
    int64_t bytes = 0;
    for (const auto& entry : entries_) bytes += active(*entry) ? entry->bytes : 0;
    return bytes;
  };
  while (limits_.memory_bytes > 0 && total() > limits_.memory_bytes && unload_unused()) {
  }
}

}  // namespace graft::serving
